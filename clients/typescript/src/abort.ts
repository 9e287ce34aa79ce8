interface Listener {
  acts: Set<() => void>;
  run: () => void;
}

const listeners = new WeakMap<AbortSignal, Listener>();

/**
 * Acts when the signal is aborted, until the function that it returns is called. All that wait for a signal share one
 * listener: Node takes more than ten for a leak, and warns.
 */
export function onAbort(signal: AbortSignal | undefined, act: () => void): () => void {
  if (!signal) return () => {};
  const { acts, run } = listeners.get(signal) ?? listen(signal);
  acts.add(act);
  return () => {
    acts.delete(act);
    if (acts.size > 0 || listeners.get(signal)?.acts !== acts) return;
    listeners.delete(signal);
    signal.removeEventListener("abort", run);
  };
}

function listen(signal: AbortSignal): Listener {
  const acts = new Set<() => void>();
  const run = () => acts.forEach((act) => act());
  const listener = { acts, run };
  listeners.set(signal, listener);
  signal.addEventListener("abort", run);
  return listener;
}

/** What comes first: the end of the promise, or that of the signal. */
export function unlessAborted<T>(promise: T | Promise<T>, signal?: AbortSignal, why = () => signal!.reason): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const aborted = () => reject(why());
    const settled = onAbort(signal, aborted);
    Promise.resolve(promise).then(resolve, reject).finally(settled);
    if (signal?.aborted) aborted();
  });
}
