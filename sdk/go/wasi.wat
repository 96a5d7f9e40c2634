;; What the runtime of Go imports of WASI 0.1, in terms of WASI 0.2.
;;
;; The adapter of wasmtime does the same for other languages, but takes a page of the memory for
;; itself when the runtime starts. The runtime of Go assumes that all pages are its own, and
;; overwrites this one. These functions have no memory, except some bytes below address 12288, which
;; the runtime of Go uses in browsers only:
;;
;;   64  what a function of WASI returns
;;   84  the streams of standard output and standard error
;;   96  1 while the host allows no calls: `shut` in memory.go
;;  104  the last time of the monotonic clock, and after it that of the wall clock
(module
  (import "env" "memory" (memory 0))
  (import "wasi:cli/stdout@0.2.0" "get-stdout" (func $stdout (result i32)))
  (import "wasi:cli/stderr@0.2.0" "get-stderr" (func $stderr (result i32)))
  (import "wasi:clocks/monotonic-clock@0.2.0" "now" (func $now (result i64)))
  (import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $wait (param i64) (result i32)))
  (import "wasi:clocks/wall-clock@0.2.0" "now" (func $wall_now (param i32)))
  (import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))
  (import "wasi:io/poll@0.2.0" "[resource-drop]pollable" (func $drop (param i32)))
  (import "wasi:io/streams@0.2.0" "[method]output-stream.blocking-write-and-flush"
    (func $write_part (param $stream i32) (param $at i32) (param $length i32) (param $result i32)))
  (import "wasi:random/random@0.2.0" "get-random-u64" (func $random (result i64)))

  ;; A module has no arguments and no environment.
  (func $nothing (param $count i32) (param $size i32) (result i32)
    (i32.store (local.get $count) (i32.const 0))
    (i32.store (local.get $size) (i32.const 0))
    (i32.const 0))
  (export "args_sizes_get" (func $nothing))
  (export "environ_sizes_get" (func $nothing))
  (func $ok (param i32 i32) (result i32) (i32.const 0))
  (export "args_get" (func $ok))
  (export "environ_get" (func $ok))

  (func (export "sched_yield") (result i32) (i32.const 0))
  (func (export "proc_exit") (param i32) unreachable)

  ;; The garbage collector asks for the time also while the host allows no calls.
  (func (export "clock_time_get") (param $clock i32) (param $precision i64) (param $time i32) (result i32)
    (local $last i32)
    (local.set $last (select (i32.const 104) (i32.const 112) (local.get $clock)))
    (if (i32.eqz (i32.load8_u (i32.const 96)))
      (then
        (if (local.get $clock)
          (then (i64.store (local.get $last) (call $now)))
          (else
            ;; The seconds, then the nanoseconds.
            (call $wall_now (i32.const 64))
            (i64.store (local.get $last)
              (i64.add
                (i64.mul (i64.load (i32.const 64)) (i64.const 1000000000))
                (i64.load32_u (i32.const 72))))))))
    (i64.store (local.get $time) (i64.load (local.get $last)))
    (i32.const 0))

  (func (export "random_get") (param $at i32) (param $length i32) (result i32)
    (local $bits i64)
    (local.set $bits (call $random))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $length)))
        (if (i32.eqz (i32.and (local.get $length) (i32.const 7))) (then (local.set $bits (call $random))))
        (i64.store8 (local.get $at) (local.get $bits))
        (local.set $bits (i64.shr_u (local.get $bits) (i64.const 8)))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (local.set $length (i32.sub (local.get $length) (i32.const 1)))
        (br $next)))
    (i32.const 0))

  ;; Returns the stream of standard output (1) or standard error, which it opens once.
  (func $stream (param $fd i32) (result i32)
    (local $kept i32)
    (local.set $kept (i32.add (i32.const 80) (i32.shl (local.get $fd) (i32.const 2))))
    (if (i32.eqz (i32.load (local.get $kept)))
      (then
        (i32.store (local.get $kept)
          (if (result i32) (i32.eq (local.get $fd) (i32.const 1)) (then (call $stdout)) (else (call $stderr))))))
    (i32.load (local.get $kept)))

  ;; A stream accepts 4096 bytes at once.
  (func $write (param $stream i32) (param $at i32) (param $length i32)
    (local $part i32)
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $length)))
        (local.set $part
          (select (i32.const 4096) (local.get $length) (i32.gt_u (local.get $length) (i32.const 4096))))
        (call $write_part (local.get $stream) (local.get $at) (local.get $part) (i32.const 64))
        (local.set $at (i32.add (local.get $at) (local.get $part)))
        (local.set $length (i32.sub (local.get $length) (local.get $part)))
        (br $next))))

  ;; The host writes each line to its log: what the runtime says about a crash, and `println`.
  (func (export "fd_write") (param $fd i32) (param $pieces i32) (param $count i32) (param $written i32) (result i32)
    (local $sum i32)
    ;; EBADF
    (if (i32.gt_u (i32.sub (local.get $fd) (i32.const 1)) (i32.const 1)) (then (return (i32.const 8))))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $count)))
        (call $write (call $stream (local.get $fd)) (i32.load (local.get $pieces))
          (i32.load offset=4 (local.get $pieces)))
        (local.set $sum (i32.add (local.get $sum) (i32.load offset=4 (local.get $pieces))))
        (local.set $pieces (i32.add (local.get $pieces) (i32.const 8)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next)))
    (i32.store (local.get $written) (local.get $sum))
    (i32.const 0))

  ;; Waits for the first clock of the list, which is all that the runtime waits for: `time.Sleep`.
  (func (export "poll_oneoff") (param $in i32) (param $out i32) (param $count i32) (param $events i32) (result i32)
    (local $pollable i32)
    (block $none
      (loop $next
        (br_if $none (i32.eqz (local.get $count)))
        (if (i32.load8_u offset=8 (local.get $in))
          (then
            (local.set $in (i32.add (local.get $in) (i32.const 48)))
            (local.set $count (i32.sub (local.get $count) (i32.const 1)))
            (br $next))))
      (local.set $pollable (call $wait (i64.load offset=24 (local.get $in))))
      (call $block (local.get $pollable))
      (call $drop (local.get $pollable))
      (i64.store (local.get $out) (i64.load (local.get $in)))
      (i64.store offset=8 (local.get $out) (i64.const 0))
      (i32.store (local.get $events) (i32.const 1))
      (return (i32.const 0)))
    ;; ENOSYS
    (i32.const 52))

  ;; There are no files and no sockets: EBADF.
  (func (export "fd_close") (param i32) (result i32) (i32.const 8))
  (func (export "fd_fdstat_get") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_fdstat_set_flags") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_fdstat_set_rights") (param i32 i64 i64) (result i32) (i32.const 8))
  (func (export "fd_filestat_get") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_filestat_set_size") (param i32 i64) (result i32) (i32.const 8))
  (func (export "fd_pread") (param i32 i32 i32 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_prestat_dir_name") (param i32 i32 i32) (result i32) (i32.const 8))
  (func (export "fd_prestat_get") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_pwrite") (param i32 i32 i32 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_read") (param i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "fd_readdir") (param i32 i32 i32 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_seek") (param i32 i64 i32 i32) (result i32) (i32.const 8))
  (func (export "fd_sync") (param i32) (result i32) (i32.const 8))
  (func (export "path_create_directory") (param i32 i32 i32) (result i32) (i32.const 8))
  (func (export "path_filestat_get") (param i32 i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "path_filestat_set_times") (param i32 i32 i32 i32 i64 i64 i32) (result i32) (i32.const 8))
  (func (export "path_link") (param i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "path_open") (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32) (i32.const 8))
  (func (export "path_readlink") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "path_remove_directory") (param i32 i32 i32) (result i32) (i32.const 8))
  (func (export "path_rename") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "path_symlink") (param i32 i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "path_unlink_file") (param i32 i32 i32) (result i32) (i32.const 8))
  (func (export "sock_accept") (param i32 i32 i32) (result i32) (i32.const 8))
  (func (export "sock_shutdown") (param i32 i32) (result i32) (i32.const 8))
)
