;; A guest for the tests of "locktopus plugin". The first letter of the namespace says what it does.
;;
;; normalize: l makes the letters A to Z small; the others do that too, and put one more segment behind each
;; path, whose letter is the reason: g always (growing), c if this instance was asked before (counting), s if the
;; path before began with another letter (sticking to it), p if authorize was asked before (partial), m if it is
;; wanted for writing (by mode), n if there is more than one path (by number), e (where the path is to end,
;; nothing: malformed). u changes nothing.
;;
;; authenticate: i names alice, with a context, for an hour; a names nobody; any other denies with code 3.
;; authorize: t traps, w goes on for ever, f reports a fault, b answers nonsense, o logs something strange; d denies.
;;
;; A configuration that begins with {"refuse is refused, and one that begins with {"refuse! with something strange.

(module
  (import "locktopus" "log" (func $log (param i32 i32 i32)))

  (memory (export "memory") 3)
  (global $buffer i32 (i32.const 65536))
  (global $answer i32 (i32.const 131072))
  (global $calls (mut i32) (i32.const 0))
  (global $before (mut i32) (i32.const 0))
  (global $authorized (mut i32) (i32.const 0))

  (data (i32.const 16) "not this one")
  (data (i32.const 32) "\10\0e\00\00\05\00\0a\00alicerole=admin") ;; 3600 s, 5 and 10 bytes
  (data (i32.const 64) "no \1b[31mluck")
  (data (i32.const 80) "{\22refuse")

  (func (export "locktopus_abi_1") (result i32) (i32.const 0))
  (func (export "locktopus_buffer") (param i32) (result i32) (global.get $buffer))

  (func (export "locktopus_init") (param $n i32) (result i64)
    (if (i32.ge_u (local.get $n) (i32.const 8))
      (then (if (i64.eq (i64.load (global.get $buffer)) (i64.load (i32.const 80)))
        (then
          (if (i32.eq (i32.load8_u offset=8 (global.get $buffer)) (i32.const 0x21)) ;; !
            (then (return (call $result (i64.const 2) (i32.const 64) (i32.const 12)))))
          (return (call $result (i64.const 2) (i32.const 16) (i32.const 12)))))))
    (i64.const 1))

  (func (export "locktopus_authenticate") (param i32) (result i64)
    (local $what i32)
    (local.set $what (call $letter))
    (if (i32.eq (local.get $what) (i32.const 0x69)) ;; i
      (then (return (call $result (i64.const 1) (i32.const 32) (i32.const 23)))))
    (if (i32.eq (local.get $what) (i32.const 0x61)) ;; a
      (then (return (i64.const 1))))
    (call $result (i64.const 0x302) (i32.const 64) (i32.const 12)))

  (func (export "locktopus_authorize") (param i32) (result i64)
    (local $what i32)
    (global.set $authorized (i32.const 1))
    (local.set $what (call $letter))
    (if (i32.eq (local.get $what) (i32.const 0x74)) (then (unreachable))) ;; t
    (if (i32.eq (local.get $what) (i32.const 0x77)) (then (loop $for_ever (br $for_ever)))) ;; w
    (if (i32.eq (local.get $what) (i32.const 0x66)) ;; f
      (then (return (call $result (i64.const 4) (i32.const 16) (i32.const 12)))))
    (if (i32.eq (local.get $what) (i32.const 0x62)) (then (return (i64.const 9)))) ;; b
    (if (i32.eq (local.get $what) (i32.const 0x6f)) ;; o
      (then (call $log (i32.const 2) (i32.const 64) (i32.const 12))))
    (if (i32.eq (local.get $what) (i32.const 0x64)) ;; d
      (then (return (call $result (i64.const 0x702) (i32.const 16) (i32.const 12)))))
    (i64.const 1))

  (func (export "locktopus_normalize") (param i32) (result i64)
    (local $what i32) (local $count i32) (local $entry i32) (local $from i32) (local $end i32) (local $to i32)
    (local.set $what (call $letter))
    (if (i32.eq (local.get $what) (i32.const 0x75)) (then (return (i64.const 1)))) ;; u
    (local.set $count (i32.load offset=52 (global.get $buffer)))
    (local.set $entry (call $at (i32.load offset=56 (global.get $buffer))))
    (local.set $to (global.get $answer))
    (block $done
      (loop $paths
        (br_if $done (i32.eqz (local.get $count)))
        (local.set $from (call $at (i32.load offset=4 (local.get $entry))))
        (local.set $end (i32.add (local.get $from) (i32.load offset=8 (local.get $entry))))
        (local.set $to (call $small (local.get $from) (local.get $end) (local.get $to)))
        (if (call $odd (local.get $what) (local.get $entry) (local.get $from))
          (then
            (i32.store8 (local.get $to) (local.get $what))
            (i32.store8 offset=1 (local.get $to) (i32.const 0))
            (local.set $to (i32.add (local.get $to) (i32.const 2)))))
        (if (i32.ne (local.get $what) (i32.const 0x65)) ;; e
          (then
            (i32.store8 (local.get $to) (i32.const 0))
            (local.set $to (i32.add (local.get $to) (i32.const 1)))))
        (local.set $entry (i32.add (local.get $entry) (i32.const 12)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $paths)))
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    (call $result (i64.const 3) (global.get $answer) (i32.sub (local.get $to) (global.get $answer))))

  ;; Is there to be one more segment?
  (func $odd (param $what i32) (param $entry i32) (param $from i32) (result i32)
    (local $first i32) (local $last i32)
    (if (i32.eq (local.get $what) (i32.const 0x67)) (then (return (i32.const 1)))) ;; g
    (if (i32.eq (local.get $what) (i32.const 0x63)) (then (return (i32.ne (global.get $calls) (i32.const 0))))) ;; c
    (if (i32.eq (local.get $what) (i32.const 0x70)) (then (return (global.get $authorized)))) ;; p
    (if (i32.eq (local.get $what) (i32.const 0x6d)) ;; m
      (then (return (i32.eq (i32.load8_u (local.get $entry)) (i32.const 1)))))
    (if (i32.eq (local.get $what) (i32.const 0x6e)) ;; n
      (then (return (i32.gt_u (i32.load offset=52 (global.get $buffer)) (i32.const 1)))))
    (if (i32.eq (local.get $what) (i32.const 0x73)) ;; s
      (then
        (local.set $first (i32.or (i32.load8_u (local.get $from)) (i32.const 32)))
        (local.set $last (global.get $before))
        (global.set $before (local.get $first))
        (return (i32.and (i32.ne (local.get $last) (i32.const 0)) (i32.ne (local.get $last) (local.get $first))))))
    (i32.const 0))

  ;; Copies with small letters, and gives the place behind the copy.
  (func $small (param $from i32) (param $end i32) (param $to i32) (result i32)
    (local $c i32)
    (block $done
      (loop $bytes
        (br_if $done (i32.eq (local.get $from) (local.get $end)))
        (local.set $c (i32.load8_u (local.get $from)))
        (if (i32.lt_u (i32.sub (local.get $c) (i32.const 65)) (i32.const 26))
          (then (local.set $c (i32.add (local.get $c) (i32.const 32)))))
        (i32.store8 (local.get $to) (local.get $c))
        (local.set $from (i32.add (local.get $from) (i32.const 1)))
        (local.set $to (i32.add (local.get $to) (i32.const 1)))
        (br $bytes)))
    (local.get $to))

  (func $at (param $offset i32) (result i32) (i32.add (global.get $buffer) (local.get $offset)))

  (func $letter (result i32) (i32.load8_u (call $at (i32.load offset=16 (global.get $buffer)))))

  (func $result (param $status i64) (param $at i32) (param $len i32) (result i64)
    (i64.or (local.get $status)
      (i64.or (i64.shl (i64.extend_i32_u (local.get $len)) (i64.const 16)) (i64.shl (i64.extend_i32_u (local.get $at)) (i64.const 32))))))
