;; A guest that misbehaves on request. The first byte of a question's namespace, which all hooks are told,
;; selects what it does: it is an index into a table of functions, each of which is one misbehaviour. A byte
;; that none has selects an empty place in the table, which is a trap too. What follows the first byte are the
;; misbehaviour's parameters.

(module
  (import "locktopus" "log" (func $log (param i32 i32 i32)))
  (import "env" "abort" (func $abort (param i32 i32 i32 i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock_time_get (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_res_get" (func $clock_res_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sched_yield" (func $sched_yield (result i32)))

  (type $misbehaviour (func (param i32) (result i64)))
  (type $other (func (param i64) (result i64)))

  (memory (export "memory") 3)
  (global $buffer i32 (i32.const 65536))
  (global $calls (mut i64) (i64.const 0))

  (table $acts 128 funcref)
  (table $growing 1 funcref)

  (func (export "locktopus_abi_1") (result i32) (i32.const 0))
  (func (export "locktopus_buffer") (param i32) (result i32) (global.get $buffer))
  (func (export "locktopus_init") (param i32) (result i64) (i64.const 1))

  (func $act (export "locktopus_authenticate") (export "locktopus_authorize") (export "locktopus_normalize")
    (param $n i32) (result i64)
    (call_indirect $acts (type $misbehaviour) (local.get $n) (i32.load8_u (call $parameters))))

  ;; Where the namespace is. The parameters begin a byte later.
  (func $parameters (result i32) (i32.add (global.get $buffer) (i32.load offset=16 (global.get $buffer))))

  ;; Denies with 16 bytes of text from that address, and what they say.
  (func $deny16 (param $at i32) (result i64)
    (i64.or (i64.const 0x100002) (i64.shl (i64.extend_i32_u (local.get $at)) (i64.const 32))))

  ;; ---- answers

  (elem (i32.const 0x6f) $allows) ;; o
  (func $allows (param i32) (result i64) (i64.const 1))

  (elem (i32.const 0x3d) $answers) ;; =, and 16 digits: the result of the call; and bytes, which are put at 4096
  (func $answers (param i32) (result i64)
    (local $from i32) (local $to i32) (local $end i32)
    (local.set $from (i32.add (call $parameters) (i32.const 17)))
    (local.set $end (i32.add (call $parameters) (i32.load offset=20 (global.get $buffer))))
    (local.set $to (i32.const 4096))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $from) (local.get $end)))
        (i64.store8 (local.get $to) (call $hex (local.get $from) (i32.const 2)))
        (local.set $from (i32.add (local.get $from) (i32.const 2)))
        (local.set $to (i32.add (local.get $to) (i32.const 1)))
        (br $next)))
    (call $hex (i32.add (call $parameters) (i32.const 1)) (i32.const 16)))

  ;; The number that so many hexadecimal digits are, lower-case ones.
  (func $hex (param $at i32) (param $digits i32) (result i64)
    (local $value i64) (local $c i32)
    (loop $next
      (local.set $c (i32.load8_u (local.get $at)))
      (local.set $value (i64.or (i64.shl (local.get $value) (i64.const 4)) (i64.extend_i32_u
        (i32.sub (local.get $c) (select (i32.const 0x57) (i32.const 0x30) (i32.ge_u (local.get $c) (i32.const 0x61)))))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $next (local.tee $digits (i32.sub (local.get $digits) (i32.const 1)))))
    (local.get $value))

  (elem (i32.const 0x77) $wrecks) ;; w, and a byte: fills the buffer with it, and allows
  (func $wrecks (param i32) (result i64)
    (memory.fill (global.get $buffer) (i32.load8_u offset=1 (call $parameters)) (i32.const 65536))
    (i64.const 1))

  (elem (i32.const 0x23) $counts) ;; #: denies, and its code is how often this instance was asked this
  (func $counts (param i32) (result i64)
    (global.set $calls (i64.add (global.get $calls) (i64.const 1)))
    (i64.or (i64.const 2) (i64.shl (i64.and (global.get $calls) (i64.const 0xff)) (i64.const 8))))

  (elem (i32.const 0x67) $goesBad) ;; g, and 8 digits: allows as many times, then never returns
  (func $goesBad (param i32) (result i64)
    (global.set $calls (i64.add (global.get $calls) (i64.const 1)))
    (if (i64.gt_u (global.get $calls) (call $hex (i32.add (call $parameters) (i32.const 1)) (i32.const 8)))
      (then (loop $for_ever (br $for_ever))))
    (i64.const 1))

  ;; ---- what never ends

  (elem (i32.const 0x6c) $loops) ;; l
  (func $loops (param i32) (result i64) (loop $for_ever (br $for_ever)) (unreachable))

  (elem (i32.const 0x4c) $works) ;; L: a loop that does something
  (func $works (param i32) (result i64)
    (loop $for_ever
      (global.set $calls (i64.add (global.get $calls) (i64.const 1)))
      (br_if $for_ever (i64.ne (global.get $calls) (i64.const 0))))
    (i64.const 1))

  (elem (i32.const 0x72) $recurses) ;; r: 2^60 calls, and never more than 60 at once
  (func $recurses (param i32) (result i64) (call $doubles (i32.const 60)) (i64.const 1))
  (func $doubles (param $n i32)
    (if (local.get $n)
      (then
        (call $doubles (i32.sub (local.get $n) (i32.const 1)))
        (call $doubles (i32.sub (local.get $n) (i32.const 1))))))

  (elem (i32.const 0x49) $recursesIndirectly) ;; I: the same through the table
  (func $recursesIndirectly (param i32) (result i64) (call $doublesIndirectly (i32.const 60)))
  (elem (i32.const 0x00) $doublesIndirectly)
  (func $doublesIndirectly (param $n i32) (result i64)
    (if (local.get $n)
      (then
        (drop (call_indirect $acts (type $misbehaviour) (i32.sub (local.get $n) (i32.const 1)) (i32.const 0)))
        (drop (call_indirect $acts (type $misbehaviour) (i32.sub (local.get $n) (i32.const 1)) (i32.const 0)))))
    (i64.const 1))

  (elem (i32.const 0x64) $divides) ;; d
  (func $divides (param i32) (result i64)
    (local $x i64)
    (local.set $x (i64.const -1))
    (loop $for_ever
      (local.set $x (i64.sub (i64.const -1) (i64.div_s (local.get $x) (i64.const 3))))
      (local.set $x (i64.sub (i64.const -1) (i64.div_u (local.get $x) (i64.const 3))))
      (local.set $x (i64.sub (i64.const -1) (i64.rem_u (local.get $x) (i64.const 0x7fffffffffffffff))))
      (local.set $x (i64.or (local.get $x) (i64.const 0x4000000000000000)))
      (br $for_ever))
    (unreachable))

  (elem (i32.const 0x66) $roots) ;; f: square roots and quotients of the smallest numbers there are
  (func $roots (param i32) (result i64)
    (local $x f64)
    (local.set $x (f64.const 0x1p-1074))
    (loop $for_ever
      (local.set $x (f64.div (f64.sqrt (f64.sqrt (local.get $x))) (f64.const 0x1.8p+1000)))
      (local.set $x (f64.add (f64.mul (local.get $x) (f64.const 0x1p-60)) (f64.const 0x1p-1074)))
      (br $for_ever))
    (unreachable))

  (elem (i32.const 0x46) $fills) ;; F: 8 MiB at a time
  (func $fills (param i32) (result i64)
    (drop (memory.grow (i32.const 253)))
    (loop $for_ever
      (memory.fill (i32.const 0x800000) (i32.const 1) (i32.const 0x800000))
      (br $for_ever))
    (unreachable))

  (elem (i32.const 0x43) $copies) ;; C: 8 MiB at a time, overlapping
  (func $copies (param i32) (result i64)
    (drop (memory.grow (i32.const 253)))
    (loop $for_ever
      (memory.copy (i32.const 0x700001) (i32.const 0x700000) (i32.const 0x800000))
      (br $for_ever))
    (unreachable))

  (elem (i32.const 0x63) $chases) ;; c: each address depends on what was at the one before
  (func $chases (param i32) (result i64)
    (local $p i32)
    (drop (memory.grow (i32.const 253)))
    (loop $for_ever
      (local.set $p (i32.and
        (i32.add (i32.mul (i32.add (local.get $p) (i32.load (local.get $p))) (i32.const 1664525)) (i32.const 1013904223))
        (i32.const 0x00ffffc0)))
      (i32.store (local.get $p) (i32.add (i32.load (local.get $p)) (i32.const 64)))
      (br $for_ever))
    (unreachable))

  (elem (i32.const 0x74) $touches) ;; t: 8-byte stores across the borders of pages of 4 KiB, all over 16 MiB
  (func $touches (param i32) (result i64)
    (local $p i32)
    (drop (memory.grow (i32.const 253)))
    (loop $for_ever
      (i64.store align=1 (i32.add (i32.const 4092) (i32.and (local.get $p) (i32.const 0x00ffe000))) (i64.const -1))
      (local.set $p (i32.sub (local.get $p) (i32.const 8192)))
      (br $for_ever))
    (unreachable))

  (elem (i32.const 0x4d) $growsMemory) ;; M
  (func $growsMemory (param i32) (result i64)
    (loop $for_ever (drop (memory.grow (i32.const 1))) (br $for_ever))
    (unreachable))

  (elem (i32.const 0x54) $growsTable) ;; T
  (func $growsTable (param i32) (result i64)
    (loop $for_ever
      (drop (table.grow $growing (ref.func $allows) (i32.const 1)))
      (drop (table.grow $growing (ref.null func) (i32.const 1000000)))
      (br $for_ever))
    (unreachable))

  (elem (i32.const 0x53) $shiftsTable) ;; S: grows the table to its end, then fills and copies it
  (func $shiftsTable (param i32) (result i64)
    (local $n i32)
    (loop $more
      (br_if $more (i32.ne (table.grow $growing (ref.func $allows) (i32.const 1024)) (i32.const -1))))
    (local.set $n (i32.sub (table.size $growing) (i32.const 1)))
    (loop $for_ever
      (table.fill $growing (i32.const 0) (ref.func $allows) (local.get $n))
      (table.copy $growing $growing (i32.const 1) (i32.const 0) (local.get $n))
      (br $for_ever))
    (unreachable))

  (elem (i32.const 0x6e) $asksTable) ;; n: references made and compared
  (func $asksTable (param i32) (result i64)
    (loop $for_ever
      (table.set $growing (i32.const 0) (ref.func $loops))
      (br_if $for_ever (i32.eqz (ref.is_null (table.get $growing (i32.const 0))))))
    (unreachable))

  ;; ---- the host is kept busy

  (elem (i32.const 0x52) $random) ;; R: as much as there is at once
  (func $random (param i32) (result i64)
    (loop $for_ever (drop (call $random_get (i32.const 0) (i32.const 65536))) (br $for_ever))
    (unreachable))

  (elem (i32.const 0x31) $randomBit) ;; 1: a byte at a time
  (func $randomBit (param i32) (result i64)
    (loop $for_ever (drop (call $random_get (i32.const 0) (i32.const 1))) (br $for_ever))
    (unreachable))

  (elem (i32.const 0x32) $clock) ;; 2
  (func $clock (param i32) (result i64)
    (loop $for_ever (drop (call $clock_time_get (i32.const 0) (i64.const 0) (i32.const 8))) (br $for_ever))
    (unreachable))

  (elem (i32.const 0x33) $resolution) ;; 3
  (func $resolution (param i32) (result i64)
    (loop $for_ever (drop (call $clock_res_get (i32.const 0) (i32.const 8))) (br $for_ever))
    (unreachable))

  (elem (i32.const 0x34) $logs) ;; 4: lines as long as they can be, and one byte of each isn't UTF-8
  (func $logs (param i32) (result i64)
    (memory.fill (i32.const 0) (i32.const 0xff) (i32.const 1024))
    (loop $for_ever (call $log (i32.const 3) (i32.const 0) (i32.const 65536)) (br $for_ever))
    (unreachable))

  (elem (i32.const 0x35) $logsNothing) ;; 5
  (func $logsNothing (param i32) (result i64)
    (loop $for_ever (call $log (i32.const 3) (i32.const 0) (i32.const 0)) (br $for_ever))
    (unreachable))

  (elem (i32.const 0x36) $writes) ;; 6: 8192 vectors of 16 bytes
  (func $writes (param i32) (result i64)
    (call $vectors (i32.const 16))
    (loop $for_ever (drop (call $fd_write (i32.const 2) (i32.const 0) (i32.const 8192) (i32.const 131072))) (br $for_ever))
    (unreachable))

  (elem (i32.const 0x37) $writesNothing) ;; 7: 8192 vectors of no bytes
  (func $writesNothing (param i32) (result i64)
    (call $vectors (i32.const 0))
    (loop $for_ever (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 8192) (i32.const 131072))) (br $for_ever))
    (unreachable))

  (elem (i32.const 0x38) $writesNowhere) ;; 8: 63 good vectors, and then one of another world
  (func $writesNowhere (param i32) (result i64)
    (call $vectors (i32.const 1))
    (i32.store (i32.const 504) (i32.const -1))
    (loop $for_ever (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 64) (i32.const 131072))) (br $for_ever))
    (unreachable))

  (func $vectors (param $length i32)
    (local $p i32)
    (loop $next
      (i32.store (local.get $p) (i32.const 0))
      (i32.store offset=4 (local.get $p) (local.get $length))
      (local.set $p (i32.add (local.get $p) (i32.const 8)))
      (br_if $next (i32.lt_u (local.get $p) (i32.const 65536)))))

  (elem (i32.const 0x39) $yields) ;; 9
  (func $yields (param i32) (result i64)
    (loop $for_ever (drop (call $sched_yield)) (br $for_ever))
    (unreachable))

  ;; ---- the stack

  (elem (i32.const 0x61) $deep) ;; a
  (func $deep (param $n i32) (result i64)
    (i64.add (call $deep (i32.add (local.get $n) (i32.const 1))) (i64.const 1)))

  (elem (i32.const 0x62) $even) ;; b
  (func $even (param $n i32) (result i64)
    (i64.add (call $odd (i32.add (local.get $n) (i32.const 1))) (i64.const 1)))
  (func $odd (param $n i32) (result i64)
    (i64.mul (call $even (i32.add (local.get $n) (i32.const 1))) (i64.const 3)))

  (elem (i32.const 0x65) $deepIndirectly) ;; e
  (func $deepIndirectly (param $n i32) (result i64)
    (i64.add (call_indirect $acts (type $misbehaviour) (local.get $n) (i32.const 0x65)) (i64.const 1)))

  (elem (i32.const 0x68) $fat) ;; h: 16 vectors live across each call
  (func $fat (param $n i32) (result i64)
    (local $a v128) (local $b v128) (local $c v128) (local $d v128) (local $e v128) (local $f v128) (local $g v128)
    (local $h v128) (local $i v128) (local $j v128) (local $k v128) (local $l v128) (local $m v128) (local $o v128)
    (local.set $a (i32x4.splat (local.get $n)))
    (local.set $b (i32x4.add (local.get $a) (v128.load (i32.const 0))))
    (local.set $c (i32x4.add (local.get $b) (v128.load (i32.const 16))))
    (local.set $d (i32x4.add (local.get $c) (v128.load (i32.const 32))))
    (local.set $e (i32x4.add (local.get $d) (v128.load (i32.const 48))))
    (local.set $f (i32x4.add (local.get $e) (v128.load (i32.const 64))))
    (local.set $g (i32x4.add (local.get $f) (v128.load (i32.const 80))))
    (local.set $h (i32x4.add (local.get $g) (v128.load (i32.const 96))))
    (local.set $i (i32x4.add (local.get $h) (v128.load (i32.const 112))))
    (local.set $j (i32x4.add (local.get $i) (v128.load (i32.const 128))))
    (local.set $k (i32x4.add (local.get $j) (v128.load (i32.const 144))))
    (local.set $l (i32x4.add (local.get $k) (v128.load (i32.const 160))))
    (local.set $m (i32x4.add (local.get $l) (v128.load (i32.const 176))))
    (local.set $o (i32x4.add (local.get $m) (v128.load (i32.const 192))))
    (i64.add
      (call $fat (i32.add (local.get $n) (i32.const 1)))
      (i64x2.extract_lane 0
        (v128.xor (local.get $a) (v128.xor (local.get $b) (v128.xor (local.get $c) (v128.xor (local.get $d)
        (v128.xor (local.get $e) (v128.xor (local.get $f) (v128.xor (local.get $g) (v128.xor (local.get $h)
        (v128.xor (local.get $i) (v128.xor (local.get $j) (v128.xor (local.get $k) (v128.xor (local.get $l)
        (v128.xor (local.get $m) (local.get $o)))))))))))))))))

  ;; ---- traps

  (elem (i32.const 0x41) $unreachable) ;; A
  (func $unreachable (param i32) (result i64) (unreachable))

  (elem (i32.const 0x42) $dividesByZero) ;; B
  (func $dividesByZero (param i32) (result i64) (i64.div_u (i64.const 1) (global.get $calls)))

  (elem (i32.const 0x44) $overflows) ;; D
  (func $overflows (param i32) (result i64) (i64.div_s (i64.const 0x8000000000000000) (i64.sub (global.get $calls) (i64.const 1))))

  (elem (i32.const 0x45) $loadsOutside) ;; E: across the end of a memory that has just grown
  (func $loadsOutside (param i32) (result i64)
    (drop (memory.grow (i32.const 1)))
    (i64.load (i32.const 0x3fff9)))

  (elem (i32.const 0x47) $storesOutside) ;; G
  (func $storesOutside (param i32) (result i64) (i64.store offset=0xffffffff (i32.const -1) (i64.const 1)) (i64.const 1))

  (elem (i32.const 0x48) $fillsOutside) ;; H
  (func $fillsOutside (param i32) (result i64) (memory.fill (i32.const -1) (i32.const 0) (i32.const -1)) (i64.const 1))

  (elem (i32.const 0x4a) $callsOutside) ;; J
  (func $callsOutside (param $n i32) (result i64)
    (call_indirect $acts (type $misbehaviour) (local.get $n) (i32.const 128)))

  (elem (i32.const 0x4b) $callsNull) ;; K
  (func $callsNull (param $n i32) (result i64)
    (call_indirect $growing (type $misbehaviour) (local.get $n) (i32.const 0)))

  (elem (i32.const 0x4e) $callsOther) ;; N: a function of another type
  (func $callsOther (param i32) (result i64)
    (call_indirect $acts (type $other) (i64.const 1) (i32.const 0x6f)))

  (elem (i32.const 0x4f) $convertsNaN) ;; O
  (func $convertsNaN (param i32) (result i64) (i64.trunc_f64_s (f64.const nan)))

  (elem (i32.const 0x50) $convertsLarge) ;; P
  (func $convertsLarge (param i32) (result i64) (i64.trunc_f64_u (f64.const 0x1p64)))

  (elem (i32.const 0x51) $setsOutside) ;; Q
  (func $setsOutside (param i32) (result i64) (table.set $growing (i32.const -1) (ref.null func)) (i64.const 1))

  (elem (i32.const 0x55) $aborts) ;; U
  (func $aborts (param i32) (result i64)
    (call $abort (i32.const -1) (i32.const -1) (i32.const 1) (i32.const 2)) (i64.const 1))

  (elem (i32.const 0x56) $exits) ;; V, and a byte: the exit code
  (func $exits (param i32) (result i64)
    (call $proc_exit (i32.load8_u offset=1 (call $parameters))) (i64.const 1))

  (elem (i32.const 0x57) $logsOutside) ;; W
  (func $logsOutside (param i32) (result i64) (call $log (i32.const 1) (i32.const -1) (i32.const 2)) (i64.const 1))

  ;; ---- what it may do, for the tests of what it sees

  (elem (i32.const 0x73) $says) ;; s, and a byte: logs all of the question at that level
  (func $says (param $n i32) (result i64)
    (call $log (i32.load8_u offset=1 (call $parameters)) (i32.add (call $parameters) (i32.const 2))
      (i32.sub (i32.load offset=20 (global.get $buffer)) (i32.const 2)))
    (i64.const 1))

  (elem (i32.const 0x70) $peeks) ;; p: denies with 16 bytes of text: real time and random ones
  (func $peeks (param i32) (result i64)
    (drop (call $clock_time_get (i32.const 0) (i64.const 0) (i32.const 32)))
    (drop (call $random_get (i32.const 40) (i32.const 8)))
    ;; As text: each byte is cut to 7 bits.
    (i64.store (i32.const 32) (i64.and (i64.load (i32.const 32)) (i64.const 0x7f7f7f7f7f7f7f7f)))
    (i64.store (i32.const 40) (i64.and (i64.load (i32.const 40)) (i64.const 0x7f7f7f7f7f7f7f7f)))
    (call $deny16 (i32.const 32)))

  (elem (i32.const 0x6d) $remembers) ;; m: denies with 16 bytes of the buffer, from its last 16
  (func $remembers (param i32) (result i64) (call $deny16 (i32.const 131056)))
)
