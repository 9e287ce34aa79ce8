;; Lets a client write only below its own name, and everybody read.
;;
;; No SDK: this is all that the ABI is.

(module
  ;; One page of our own, and one that is the buffer, where the server writes its questions.
  (memory (export "memory") 2)
  (global $buffer i32 (i32.const 65536))

  (data (i32.const 16) "unknown operation")
  (data (i32.const 48) "only what is below your own name is yours to write")

  ;; Version 1 of the ABI, as the name says, and of that the minor version 0.
  (func (export "locktopus_abi_1") (result i32) (i32.const 0))

  ;; The buffer's address, or 0 if that is smaller than the server wants.
  (func (export "locktopus_buffer") (param $size i32) (result i32)
    (select (i32.const 0) (global.get $buffer) (i32.gt_u (local.get $size) (i32.const 65536))))

  ;; The question's length isn't needed. The result is status | code<<8 | length<<16 | address<<32, the last two of a text.
  (func (export "locktopus_authorize") (param $n i32) (result i64)
    (local $principal i32) (local $count i32) (local $entry i32)
    (local.set $principal (call $at (i32.load offset=24 (global.get $buffer))))
    (local.set $count (i32.load offset=52 (global.get $buffer)))
    (local.set $entry (call $at (i32.load offset=56 (global.get $buffer))))

    ;; Operations are 1 to 4. Less 1, and seen as unsigned, 0 is the largest of all.
    (if (i32.ge_u (i32.sub (i32.load offset=48 (global.get $buffer)) (i32.const 1)) (i32.const 4))
      (then (return (call $deny (i64.const 0) (i64.const 16) (i64.const 17)))))

    (loop $next
      (if (i32.eqz (local.get $count))
        (then (return (i64.const 1)))) ;; status 1: allowed

      ;; Mode 0 is reading. Whatever else there may be some day, it is not.
      (if (i32.load8_u (local.get $entry))
        (then
          (if (i32.eqz (call $under
                (call $at (i32.load offset=4 (local.get $entry))) (i32.load offset=8 (local.get $entry))
                (local.get $principal) (i32.load offset=28 (global.get $buffer))))
            (then (return (call $deny (i64.const 1) (i64.const 48) (i64.const 50)))))))

      ;; A later server's entries may be longer: how long they are stands in the question.
      (local.set $entry (i32.add (local.get $entry) (i32.load offset=60 (global.get $buffer))))
      (local.set $count (i32.sub (local.get $count) (i32.const 1)))
      (br $next))
    (unreachable))

  ;; The address of what lies at this offset of the buffer.
  (func $at (param $offset i32) (result i32) (i32.add (global.get $buffer) (local.get $offset)))

  ;; Status 2: denied.
  (func $deny (param $code i64) (param $text i64) (param $len i64) (result i64)
    (i64.or
      (i64.or (i64.const 2) (i64.shl (local.get $code) (i64.const 8)))
      (i64.or (i64.shl (local.get $len) (i64.const 16)) (i64.shl (local.get $text) (i64.const 32)))))

  ;; Is the name the path's first segment? Each segment ends in NUL, so that a isn't taken for the start of ab. Nothing is under an
  ;; empty name: that is a client that no plugin gave one.
  (func $under (param $path i32) (param $pathLen i32) (param $name i32) (param $nameLen i32) (result i32)
    (local $end i32)
    (if (i32.or (i32.eqz (local.get $nameLen)) (i32.le_u (local.get $pathLen) (local.get $nameLen)))
      (then (return (i32.const 0))))
    (local.set $end (i32.add (local.get $path) (local.get $nameLen)))
    (loop $next
      (if (i32.eq (local.get $path) (local.get $end))
        (then (return (i32.eqz (i32.load8_u (local.get $end)))))) ;; here must be the NUL
      (if (i32.ne (i32.load8_u (local.get $path)) (i32.load8_u (local.get $name)))
        (then (return (i32.const 0))))
      (if (i32.eqz (i32.load8_u (local.get $name)))
        (then (return (i32.const 0)))) ;; a name with NUL would be two segments
      (local.set $path (i32.add (local.get $path) (i32.const 1)))
      (local.set $name (i32.add (local.get $name) (i32.const 1)))
      (br $next))
    (unreachable)))
