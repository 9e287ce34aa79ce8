;; A plugin that does what it is asked to: the last byte of the query (authenticate), or the first
;; of the first path (authorize, normalize), chooses. `a` allows; most others are what a plugin must not do.
(module
  (import "locktopus" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 4)
  (table $t 1 funcref)
  (type $nothing (func))

  (global $buffer i32 (i32.const 65536))
  (data (i32.const 16) "no such luck")       ;; 12 bytes
  (data (i32.const 32) "\ff\fe")             ;; no UTF-8
  (data (i32.const 48) "other\00\00")        ;; a rewritten path

  (func (export "locktopus_abi_1") (result i32) i32.const 0)
  (func (export "locktopus_buffer") (param i32) (result i32) global.get $buffer)

  (func (export "locktopus_authenticate") (param $n i32) (result i64)
    ;; the last byte of the query, whose reference is at 40
    (call $do (i32.load8_u (i32.sub
      (i32.add (global.get $buffer) (i32.add (i32.load offset=65576 (i32.const 0)) (i32.load offset=65580 (i32.const 0))))
      (i32.const 1)))))

  (func $path (result i32) ;; the first byte of the first path: table at 56, its reference at 4
    (i32.load8_u (i32.add (global.get $buffer) (i32.load offset=4
      (i32.add (global.get $buffer) (i32.load offset=65592 (i32.const 0)))))))

  (func (export "locktopus_authorize") (param i32) (result i64) (call $do (call $path)))
  (func (export "locktopus_normalize") (param i32) (result i64) (call $do (call $path)))

  (func $do (param $c i32) (result i64)
    (if (i32.eq (local.get $c) (i32.const 97 (; a ;))) (then (return (i64.const 1))))
    (if (i32.eq (local.get $c) (i32.const 100 (; d ;))) (then (return (call $answer (i64.const 2) (i64.const 12) (i64.const 16)))))
    (if (i32.eq (local.get $c) (i32.const 102 (; f ;))) (then (return (call $answer (i64.const 4) (i64.const 12) (i64.const 16)))))
    (if (i32.eq (local.get $c) (i32.const 48 (; 0 ;))) (then (return (i64.const 0))))
    (if (i32.eq (local.get $c) (i32.const 51 (; 3 ;))) (then (return (call $answer (i64.const 3) (i64.const 7) (i64.const 48)))))
    (if (i32.eq (local.get $c) (i32.const 57 (; 9 ;))) (then (return (i64.const 9))))
    (if (i32.eq (local.get $c) (i32.const 110 (; n ;))) (then (return (call $answer (i64.const 2) (i64.const 2) (i64.const 32)))))
    (if (i32.eq (local.get $c) (i32.const 112 (; p ;))) (then (return (call $answer (i64.const 2) (i64.const 100) (i64.const 0xfffffff0)))))
    (if (i32.eq (local.get $c) (i32.const 108 (; l ;))) (then (loop $l (br $l))))
    (if (i32.eq (local.get $c) (i32.const 98 (; b ;))) (then (call $busy)))
    (if (i32.eq (local.get $c) (i32.const 114 (; r ;))) (then (return (call $recur (i64.const 1)))))
    (if (i32.eq (local.get $c) (i32.const 115 (; s ;))) (then (call $slow)))
    (if (i32.eq (local.get $c) (i32.const 107 (; k ;))) (then (loop $l (memory.fill (i32.const 0) (i32.const 0) (i32.const 262144)) (br $l))))
    (if (i32.eq (local.get $c) (i32.const 109 (; m ;))) (then (loop $l (drop (memory.grow (i32.const 1))) (br $l))))
    (if (i32.eq (local.get $c) (i32.const 116 (; t ;))) (then (loop $l (drop (table.grow $t (ref.null func) (i32.const 1000))) (br $l))))
    (if (i32.eq (local.get $c) (i32.const 103 (; g ;))) (then (loop $l (call $log (i32.const 2) (i32.const 16) (i32.const 12)) (br $l))))
    (if (i32.eq (local.get $c) (i32.const 117 (; u ;))) (then unreachable))
    (if (i32.eq (local.get $c) (i32.const 122 (; z ;))) (then (return (i64.div_u (i64.const 1) (i64.const 0)))))
    (if (i32.eq (local.get $c) (i32.const 111 (; o ;))) (then (return (i64.load (i32.const -8)))))
    (if (i32.eq (local.get $c) (i32.const 120 (; x ;))) (then (call_indirect $t (type $nothing) (i32.const 0))))
    (if (i32.eq (local.get $c) (i32.const 99 (; c ;))) ;; clobbers its buffer, then allows
      (then (memory.fill (global.get $buffer) (i32.const 255) (i32.const 65536)) (return (i64.const 1))))
    (i64.const 2))

  (func $answer (param $status i64) (param $len i64) (param $ptr i64) (result i64)
    (i64.or (local.get $status) (i64.or (i64.shl (local.get $len) (i64.const 16)) (i64.shl (local.get $ptr) (i64.const 32)))))

  (func $busy (local $i i64)
    (loop $l (br_if $l (i64.ne (local.tee $i (i64.add (local.get $i) (i64.const 2))) (i64.const 1)))))

  (func $slow (local $i i64)
    (local.set $i (i64.const -1))
    (loop $l (local.set $i (i64.or (i64.div_u (local.get $i) (i64.const 3)) (i64.const 0x4000000000000001))) (br $l)))

  (func $recur (param $i i64) (result i64)
    (i64.add (call $recur (i64.add (local.get $i) (i64.const 1))) (local.get $i))))
