// What a strict project may write: compiled only, as by one that has no types but those of the browser.

import { connect, permit, read, write, Guard, Party, UnavailableError, type Change, type Client, type Lock, type LockInfo, type LockOptions, type Resource } from "locktopus";

export async function withLock<T>(client: Client, resources: readonly Resource[], options: LockOptions, work: (lock: Lock) => Promise<T>): Promise<T> {
  await using lock = await client.lock(resources, options);
  return await work(lock);
}

export async function all(url: string, signal: AbortSignal): Promise<void> {
  await using client = await connect(url, { name: "types", signal, onRisk: (atRisk: boolean) => void atRisk });
  const paths: readonly (readonly string[])[] = [["a"], ["b", "c"]];
  const token: bigint = await withLock(client, paths.map((p) => write(...p)), { wait: 5, signal, party: new Party() }, async (l) => l.token);
  new Guard().write(token);
  const one: Lock = await client.tryLock(permit(3, "pool"));
  const slot: number | undefined = one.slots[0];
  await client.tryLock([read("x")] as const).catch((error: unknown) => {
    if (error instanceof UnavailableError) return error.blockers[0]?.session;
    throw error;
  });
  const { locks, next }: { locks: LockInfo[]; next?: string } = await client.inspect(["a"], { limit: slot, signal });
  using watch = await client.watch([], { signal });
  for await (const { change, lock } of watch) {
    const word: Change["change"] = change;
    if (word === "ended" && lock.session === locks[0]?.session && next === undefined) break;
  }
}
