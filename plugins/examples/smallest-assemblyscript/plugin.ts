// Lets a client write only below its own name, and everybody read.
import { Mode, allow, deny, known, request } from "../../sdk/assemblyscript/locktopus";
export { locktopus_abi_1, locktopus_buffer } from "../../sdk/assemblyscript/locktopus";

export function locktopus_authorize(n: i32): u64 {
  const r = request(n);
  if (!known(r.operation)) return deny(0, "unknown operation");
  for (let i = 0; i < r.count; i++) {
    const resource = r.resource(i);
    if (resource.mode != Mode.Read && !resource.path.underSegment(r.principal)) {
      return deny(1, "only what is below your own name is yours to write");
    }
  }
  return allow();
}
