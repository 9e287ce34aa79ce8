// Whose types have async disposal in them, also for projects that don't ask for it.
/// <reference lib="esnext.disposable" preserve="true" />

export { connect, type Client, type Options } from "./client.js";
export type { Lock, LockOptions } from "./lock.js";
export type { LockInfo } from "./message.js";
export type { Change, Watch } from "./watch.js";
export type { Socket, SocketFactory } from "./socket.js";
export { read, write, permit, Party, type Resource } from "./resource.js";
export { Guard } from "./guard.js";
export {
  ClosedError,
  DeadlockError,
  LocktopusError,
  LostError,
  OfflineError,
  RefusedError,
  ReleasedError,
  StaleError,
  UnavailableError,
  type Blocker,
} from "./errors.js";
