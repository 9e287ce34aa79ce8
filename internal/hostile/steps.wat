;; A guest that misbehaves before it is asked anything. What it does is written behind the word RECIPE in its
;; memory, where the tests put it before they load the module:
;;
;;   8   the step at which it misbehaves: s start function, i _initialize, a locktopus_abi_1,
;;       b locktopus_buffer, c locktopus_init; any other: at none
;;   9   how: l never returns, r calls itself for ever, u traps, x exits, m fills all the memory that it can
;;       have and traps; any other: not at all
;;   12  i32: the minor version that it needs
;;   16  i32: where its buffer is
;;   24  i64: what locktopus_init returns

(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))

  (memory (export "memory") 3)
  (data (i32.const 16) "RECIPE\00\00" "........" "................")

  (global $recipe i32 (i32.const 16))

  (func $start (call $step (i32.const 0x73)))
  (start $start)

  (func (export "_initialize") (call $step (i32.const 0x69)))

  (func (export "locktopus_abi_1") (result i32)
    (call $step (i32.const 0x61))
    (i32.load offset=12 (global.get $recipe)))

  (func (export "locktopus_buffer") (param i32) (result i32)
    (call $step (i32.const 0x62))
    (i32.load offset=16 (global.get $recipe)))

  (func (export "locktopus_init") (param i32) (result i64)
    (call $step (i32.const 0x63))
    (i64.load offset=24 (global.get $recipe)))

  (func (export "locktopus_authorize") (param i32) (result i64) (i64.const 1))

  (func $step (param $step i32)
    (local $how i32)
    (if (i32.ne (local.get $step) (i32.load8_u offset=8 (global.get $recipe)))
      (then (return)))
    (local.set $how (i32.load8_u offset=9 (global.get $recipe)))
    (if (i32.eq (local.get $how) (i32.const 0x6c))
      (then (loop $for_ever (br $for_ever))))
    (if (i32.eq (local.get $how) (i32.const 0x72))
      (then (call $down)))
    (if (i32.eq (local.get $how) (i32.const 0x75))
      (then (unreachable)))
    (if (i32.eq (local.get $how) (i32.const 0x78))
      (then (call $proc_exit (i32.const 0))))
    (if (i32.eq (local.get $how) (i32.const 0x6d))
      (then
        (loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
        (memory.fill (i32.const 64) (i32.const 1) (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 64)))
        (unreachable))))

  (func $down (call $down) (call $down)))
