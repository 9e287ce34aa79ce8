import { idly } from "./clock.js";

const closePatience = 1000; // ms, for the closing handshake

/** What is needed of a WebSocket: the browser's, Node's own, or that of the package `ws`. */
export interface Socket {
  readonly bufferedAmount: number;
  send(text: string): void;
  close(code?: number, reason?: string): void;
  /** Ends the connection without a handshake, where the platform can. */
  terminate?(): void;
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
}

export type SocketFactory = (url: string, protocol: string, headers: Record<string, string>) => Socket | Promise<Socket>;

const moduleOfWs = "ws"; // a name that bundlers for browsers don't follow

/**
 * The platform's WebSocket. Headers can be sent by the package `ws` only, which Node before version 22 needs anyway:
 * it is used there if it is installed.
 */
export const platformSocket: SocketFactory = async (url, protocol, headers) => {
  const wantsHeaders = Object.keys(headers).length > 0;
  if (!wantsHeaders && typeof globalThis.WebSocket === "function") return new globalThis.WebSocket(url, protocol);
  let ws: any;
  try {
    ws = await import(/* @vite-ignore */ /* webpackIgnore: true */ moduleOfWs);
  } catch {
    throw new TypeError(
      wantsHeaders
        ? "headers can be sent with the package ws only: install it, or use credentials"
        : "there is no WebSocket here: install the package ws",
    );
  }
  return new ws.WebSocket(url, protocol, { headers, perMessageDeflate: false });
};

/** Ends a connection, also one to a server that doesn't answer: by itself, ws keeps the process alive for 30 s then. */
export function hangUp(socket: Socket): void {
  socket.close(1000);
  idly(() => socket.terminate?.(), closePatience);
}
