;; Everybody may read, and a client may lock for writing, or take permits of, only the path that is its
;; own name and what is below.
;;
;; There is no SDK: docs/PLUGINS.md, in the source of Locktopus, says what the numbers mean.

(module
  ;; One page of our own, one that is the buffer, where the server writes its questions, and one for answers.
  (memory (export "memory") 3)
  (global $buffer i32 (i32.const 65536))
  (global $answer i32 (i32.const 131072))

  (data (i32.const 16) "unknown operation")
  (data (i32.const 48) "only what is below your own name is yours to write")

  ;; Version 1 of the ABI, as the name says, and of that the minor version 0.
  (func (export "locktopus_abi_1") (result i32) (i32.const 0))

  ;; The buffer's address, or 0 if that is smaller than the server wants.
  (func (export "locktopus_buffer") (param $size i32) (result i32)
    (select (i32.const 0) (global.get $buffer) (i32.gt_u (local.get $size) (i32.const 65536))))

  ;; Is asked about each request of a client. The question's length isn't needed. The result is
  ;; status | code<<8 | length<<16 | address<<32, the last two of a text.
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
    (unreachable))

  ;; There are more hooks. Take the comment signs of one away, and name it in the configuration.

  ;; Is asked who a client is that connects. This one takes the name from its certificate: of one that
  ;; wasn't verified, a plugin is told nothing.
  (;
  (data (i32.const 112) "subject-cn")
  (data (i32.const 128) "show a certificate")

  (func (export "locktopus_authenticate") (param $n i32) (result i64)
    (local $count i32) (local $entry i32)
    (local.set $count (i32.load offset=52 (global.get $buffer)))
    (local.set $entry (call $at (i32.load offset=56 (global.get $buffer))))
    (loop $next
      (if (i32.eqz (local.get $count))
        (then (return (call $deny (i64.const 0) (i64.const 128) (i64.const 18)))))
      (if (call $isName (local.get $entry))
        (then (return (call $identity (call $at (i32.load offset=12 (local.get $entry))) (i32.load offset=16 (local.get $entry))))))
      (local.set $entry (i32.add (local.get $entry) (i32.load offset=60 (global.get $buffer))))
      (local.set $count (i32.sub (local.get $count) (i32.const 1)))
      (br $next))
    (unreachable))

  ;; Is the entry the fact (2) subject-cn?
  (func $isName (param $entry i32) (result i32)
    (local $name i32) (local $k i32)
    (if (i32.or (i32.ne (i32.load8_u (local.get $entry)) (i32.const 2)) (i32.ne (i32.load offset=8 (local.get $entry)) (i32.const 10)))
      (then (return (i32.const 0))))
    (local.set $name (call $at (i32.load offset=4 (local.get $entry))))
    (loop $next
      (if (i32.eq (local.get $k) (i32.const 10))
        (then (return (i32.const 1))))
      (if (i32.ne (i32.load8_u (i32.add (local.get $name) (local.get $k))) (i32.load8_u offset=112 (local.get $k)))
        (then (return (i32.const 0))))
      (local.set $k (i32.add (local.get $k) (i32.const 1)))
      (br $next))
    (unreachable))

  ;; Status 1 with seconds for which it holds (none: as long as the connection), lengths of name and context, name. The server
  ;; refuses names that are empty or longer than 256 bytes.
  (func $identity (param $name i32) (param $len i32) (result i64)
    (local $k i32)
    (i32.store (global.get $answer) (i32.const 0))
    (i32.store offset=4 (global.get $answer) (i32.and (local.get $len) (i32.const 0xffff)))
    (loop $next
      (i32.store8 offset=8 (i32.add (global.get $answer) (local.get $k)) (i32.load8_u (i32.add (local.get $name) (local.get $k))))
      (br_if $next (i32.lt_u (local.tee $k (i32.add (local.get $k) (i32.const 1))) (local.get $len))))
    (call $result (i64.const 1) (i32.add (local.get $len) (i32.const 8))))

  ;; So many bytes of an answer.
  (func $result (param $status i64) (param $len i32) (result i64)
    (i64.or (local.get $status)
      (i64.or (i64.shl (i64.extend_i32_u (local.get $len)) (i64.const 16)) (i64.shl (i64.extend_i32_u (global.get $answer)) (i64.const 32)))))
  ;)

  ;; Is asked what the paths of a request mean, before authorize is. It must find the same for a path every
  ;; time and everywhere. This one makes the letters A to Z small.
  (;
  (data (i32.const 160) "an empty segment cannot be rewritten")

  ;; What it writes is shorter than the question: the page is large enough.
  (func (export "locktopus_normalize") (param $n i32) (result i64)
    (local $count i32) (local $entry i32) (local $from i32) (local $end i32) (local $to i32) (local $c i32) (local $last i32)
    (local.set $count (i32.load offset=52 (global.get $buffer)))
    (local.set $entry (call $at (i32.load offset=56 (global.get $buffer))))
    (local.set $to (global.get $answer))
    (loop $paths
      (if (i32.eqz (local.get $count)) ;; status 3: rewritten
        (then (return (i64.or (i64.const 3)
          (i64.or (i64.shl (i64.extend_i32_u (i32.sub (local.get $to) (global.get $answer))) (i64.const 16))
            (i64.shl (i64.extend_i32_u (global.get $answer)) (i64.const 32)))))))
      (local.set $from (call $at (i32.load offset=4 (local.get $entry))))
      (local.set $end (i32.add (local.get $from) (i32.load offset=8 (local.get $entry))))
      (local.set $last (i32.const 0))
      (block $path
        (loop $bytes
          (br_if $path (i32.eq (local.get $from) (local.get $end)))
          (local.set $c (i32.load8_u (local.get $from)))
          (if (i32.lt_u (i32.sub (local.get $c) (i32.const 65)) (i32.const 26))
            (then (local.set $c (i32.add (local.get $c) (i32.const 32)))))
          (if (i32.eqz (i32.or (local.get $c) (local.get $last))) ;; status 4: a fault
            (then (return (i64.or (i64.const 4) (i64.or (i64.const 0x240000) (i64.const 0xa000000000))))))
          (i32.store8 (local.get $to) (local.tee $last (local.get $c)))
          (local.set $from (i32.add (local.get $from) (i32.const 1)))
          (local.set $to (i32.add (local.get $to) (i32.const 1)))
          (br $bytes)))
      (i32.store8 (local.get $to) (i32.const 0)) ;; behind each path, one NUL more
      (local.set $to (i32.add (local.get $to) (i32.const 1)))
      (local.set $entry (i32.add (local.get $entry) (i32.load offset=60 (global.get $buffer))))
      (local.set $count (i32.sub (local.get $count) (i32.const 1)))
      (br $paths))
    (unreachable))
  ;)

  ;; Is called once, before all others, with what [plugins.config] says: so many bytes of JSON at the
  ;; buffer's start, or none. This one takes any.
  (;
  (func (export "locktopus_init") (param $n i32) (result i64) (i64.const 1))
  ;)
)
