;; Takes clients for whom they say they are: the parameter `as` of the URL is the principal, `roles` the
;; context. For tests of plugins that authorize.
(module
  (memory (export "memory") 2)
  (global $buffer i32 (i32.const 65536))
  (data (i32.const 0) "asroles")

  (func (export "locktopus_abi_1") (result i32) (i32.const 0))
  (func (export "locktopus_buffer") (param i32) (result i32) (global.get $buffer))

  (func (export "locktopus_authenticate") (param i32) (result i64)
    (local $as i32) (local $asLen i32) (local $roles i32) (local $rolesLen i32)
    (call $find (i32.const 0) (i32.const 2)) (local.set $asLen) (local.set $as)
    (call $find (i32.const 2) (i32.const 5)) (local.set $rolesLen) (local.set $roles)
    (if (i32.eqz (local.get $asLen)) (then (return (i64.const 1)))) ;; allowed, without a name

    ;; The identity, at 1024: 4 bytes of time (0: as long as the connection), two lengths, two texts.
    (i32.store16 (i32.const 1028) (local.get $asLen))
    (i32.store16 (i32.const 1030) (local.get $rolesLen))
    (memory.copy (i32.const 1032) (local.get $as) (local.get $asLen))
    (memory.copy (i32.add (i32.const 1032) (local.get $asLen)) (local.get $roles) (local.get $rolesLen))
    (i64.or (i64.const 0x40000000001) ;; status 1, at 1024
      (i64.shl (i64.extend_i32_u (i32.add (i32.const 8) (i32.add (local.get $asLen) (local.get $rolesLen)))) (i64.const 16))))

  ;; Where the value of the last parameter of this name is, and its length; 0 and 0: there is none.
  (func $find (param $name i32) (param $len i32) (result i32 i32)
    (local $entry i32) (local $count i32) (local $value i32) (local $valueLen i32)
    (local.set $count (i32.load offset=65588 (i32.const 0)))
    (local.set $entry (call $at (i32.load offset=65592 (i32.const 0))))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $count)))
        (if (call $is (local.get $entry) (local.get $name) (local.get $len))
          (then
            (local.set $value (call $at (i32.load offset=12 (local.get $entry))))
            (local.set $valueLen (i32.load offset=16 (local.get $entry)))))
        (local.set $entry (i32.add (local.get $entry) (i32.load offset=65596 (i32.const 0))))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next)))
    (local.get $value) (local.get $valueLen))

  ;; Is the entry a parameter (kind 1) of this name?
  (func $is (param $entry i32) (param $name i32) (param $len i32) (result i32)
    (local $at i32)
    (if (i32.ne (i32.load8_u (local.get $entry)) (i32.const 1)) (then (return (i32.const 0))))
    (if (i32.ne (i32.load offset=8 (local.get $entry)) (local.get $len)) (then (return (i32.const 0))))
    (local.set $at (call $at (i32.load offset=4 (local.get $entry))))
    (loop $next
      (if (i32.eqz (local.get $len)) (then (return (i32.const 1))))
      (local.set $len (i32.sub (local.get $len) (i32.const 1)))
      (br_if $next (i32.eq
        (i32.load8_u (i32.add (local.get $at) (local.get $len)))
        (i32.load8_u (i32.add (local.get $name) (local.get $len))))))
    (i32.const 0))

  (func $at (param $offset i32) (result i32) (i32.add (global.get $buffer) (local.get $offset))))
