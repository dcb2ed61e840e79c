/*
 * The system calls of a daemon that serves: those that the C library, libuv and the protocols' libraries make to read
 * and write files, sockets and memory, and to run threads. No other program can be started (execve), no process be
 * made, looked into or joined (fork, ptrace, process_vm_*), nothing be mounted, no namespace be made, no module be
 * loaded, no key ring, BPF program or io_uring be used.
 *
 * A call that is not in the list fails with ENOSYS, as on a kernel that does not have it: the C library then takes the
 * older way, when the call is too new for the list (clone3() is answered so on purpose: the flags of clone() can be
 * looked at). Nobody is killed: a library's try at something is no reason to lose the host's medium, and a call that
 * fails writes nothing.
 *
 * The helper (helper.h) has no filter, since the hook and PAM's modules inherit what it has. The build with
 * sanitizers may trace and start programs besides: the leak check stops its own threads that way.
 */
#ifndef HELPER_FILTER_H
#define HELPER_FILTER_H

/* Makes what filter_install() loads, in a child that ends: libseccomp's tables would stay with us for good, half a MiB.
 * Before any thread is there. 0; or a negative errno: there was no pipe or no process for it. */
int filter_prepare(void);
/* For all threads, those to come included. no_new_privs is set. What fails is logged: an older kernel serves
 * without. */
void filter_install(void);

#endif
