// Everybody may read, and a client may lock for writing, or take permits of, only the path that is its
// own name and what is below.
import { Kind, Level, Mode, allow, config, connect, deny, identity, known, log, request, rewrite } from "./locktopus";
export { locktopus_abi_1, locktopus_buffer } from "./locktopus";

/** Is asked about each request of a client. */
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

// There are more hooks. Take the comment signs of one away, and name it in the configuration.

// Is asked who a client is that connects. This one takes the name from its certificate: of one that
// wasn't verified, a plugin is told nothing.
/*
export function locktopus_authenticate(n: i32): u64 {
  const name = connect(n).find(Kind.Fact, "subject-cn");
  if (name == null) return deny(0, "show a certificate");
  return identity(0, name, "");
}
*/

// Is asked what the paths of a request mean, before authorize is. It must find the same for a path every
// time and everywhere. This one makes the letters A to Z small, where they lie.
/*
export function locktopus_normalize(n: i32): u64 {
  const r = request(n);
  const w = rewrite();
  for (let i = 0; i < r.count; i++) {
    const path = r.resource(i).path;
    for (let s = path.first(); path.has(s); s = s.next()) {
      for (let k = 0, length = s.length; k < length; k++) {
        const c = s[k];
        if (c >= 0x41 && c <= 0x5a) s[k] = c + 0x20;
      }
      w.segment(s);
    }
    w.end();
  }
  return w.verdict();
}
*/

// Is called once, before all others, with what [plugins.config] says, as JSON, or with nothing. The bytes
// are gone when it returns.
/*
export function locktopus_init(n: i32): u64 {
  const c = config(n);
  if (c.length > 0) log(Level.Info, c);
  return allow();
}
*/
