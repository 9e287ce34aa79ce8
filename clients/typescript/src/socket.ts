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
 * A WebSocket of the package `ws`, in Node and where it is installed, otherwise the platform's own. Only the former can
 * send headers, Node before version 22 has no other, and the one that it has since then waits for ever for a server that
 * hangs, and with it the process.
 */
export const platformSocket: SocketFactory = async (url, protocol, headers) => {
  const wantsHeaders = Object.keys(headers).length > 0;
  const own = typeof globalThis.WebSocket === "function" && !wantsHeaders;
  if (own && !globalThis.process?.versions?.node) return new globalThis.WebSocket(url, protocol);
  let ws: any;
  try {
    ws = await import(/* @vite-ignore */ /* webpackIgnore: true */ moduleOfWs);
  } catch {
    if (own) return new globalThis.WebSocket(url, protocol);
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
