/* test_kfile_faults.c - whatever fails while a file is saved or opened, a whole file remains.
 *
 * Every system call of the writer fails once or from there on; writes are cut short; memory
 * runs out at each allocation; a process is killed.  A power loss is simulated: from the calls
 * of one save follow all states a disk may be in, and each must hold the old file or the new
 * one.  The simulator proves itself on a writer that leaves an fsync out. */
#include <config.h>

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ann/base/error.h"
#include "ann/file/vfs.h"
#include "tests/kfile_sample.h"

#define BIG_ROWS 15000 /* of 16 bytes, so that the writer needs several writes */

static char *folder, *path;
static struct sample before, after; /* in the old file and the new one */
static uint8_t *more;
static struct kfile_part parts[SAMPLE_PARTS + 1];
static uint8_t *old_bytes, *new_bytes;
static size_t old_len, new_len;

static ann_err save_new(void)
{
    return kfile_save(path, &after.meta, parts, SAMPLE_PARTS + 1, NULL, NULL);
}

static void setup(void)
{
    folder = folder_make();
    path = in_folder(folder, "x.kith");
    kfile_chunk_limit(65536);
    sample_make(&before, 1);
    sample_make(&after, 2);
    more = malloc(BIG_ROWS * 16);
    for (size_t i = 0; i < BIG_ROWS * 16; i++)
        more[i] = (uint8_t)(i % 251 + 1);
    memcpy(parts, after.parts, sizeof after.parts);
    parts[SAMPLE_PARTS] = (struct kfile_part){"more", more, BIG_ROWS, 16};
    ck_assert_int_eq(save_new(), ANN_OK);
    new_bytes = file_read(path, &new_len);
    ck_assert_int_eq(kfile_save(path, &before.meta, before.parts, SAMPLE_PARTS, NULL, NULL), 0);
    old_bytes = file_read(path, &old_len);
}

static void teardown(void)
{
    vfs_use(NULL);
    memory_fail_at(0, false);
    kfile_chunk_limit(0);
    folder_remove(folder);
    free(path);
    free(more);
    free(old_bytes);
    free(new_bytes);
}

static bool is_old(const uint8_t *p, size_t n)
{
    return n == old_len && memcmp(p, old_bytes, n) == 0;
}

static bool is_new(const uint8_t *p, size_t n)
{
    return n == new_len && memcmp(p, new_bytes, n) == 0;
}

/* ------------------------------------------------------------------ */
/* Failing calls                                                      */
/* ------------------------------------------------------------------ */

enum how { ONCE, FROM_THERE, SHORT_WRITE, PART_THEN_FULL };

static struct {
    int calls, at; /* the at-th call fails */
    enum how how;
    int error;
    bool renamed, unlink_too;
} fault;

/* Whether this call is to fail; errno is then set. */
static bool fails(void)
{
    const int n = ++fault.calls;
    errno = fault.error;
    return fault.how <= FROM_THERE &&
           (n == fault.at || (n > fault.at && fault.how == FROM_THERE));
}

static int fault_open(const char *p, int flags, mode_t mode)
{
    return fails() ? -1 : vfs_system.open(p, flags, mode);
}

static ssize_t fault_write(int fd, const void *p, size_t n)
{
    const int call = ++fault.calls;
    if (fault.how == SHORT_WRITE && call >= fault.at)
        return vfs_system.write(fd, p, n > 1000 ? n / 3 : n);
    if (fault.how == PART_THEN_FULL && call == fault.at)
        return vfs_system.write(fd, p, n / 2);
    if ((fault.how == PART_THEN_FULL && call == fault.at + 1) ||
        (fault.how <= FROM_THERE && call == fault.at) ||
        (fault.how == FROM_THERE && call > fault.at)) {
        errno = fault.error;
        return -1;
    }
    return vfs_system.write(fd, p, n);
}

static ssize_t fault_pread(int fd, void *p, size_t n, off_t at)
{
    if (fault.how == SHORT_WRITE)
        return vfs_system.pread(fd, p, n > 100 ? n / 3 : n, at);
    return fails() ? -1 : vfs_system.pread(fd, p, n, at);
}

static int fault_fchmod(int fd, mode_t mode)
{
    return fails() ? -1 : vfs_system.fchmod(fd, mode);
}

static int fault_fsync(int fd)
{
    return fails() ? -1 : vfs_system.fsync(fd);
}

static int fault_close(int fd)
{
    const bool failing = fails(); /* the descriptor is gone all the same */
    const int e = errno, r = vfs_system.close(fd);
    errno = e;
    return failing ? -1 : r;
}

static int fault_rename(const char *from, const char *to)
{
    if (fails())
        return -1;
    fault.renamed = vfs_system.rename(from, to) == 0;
    return fault.renamed ? 0 : -1;
}

static int fault_unlink(const char *p) /* cleaning up is allowed to work */
{
    return vfs_system.unlink(p);
}

static const struct vfs fault_vfs = {fault_open,  fault_write, fault_pread,  fault_fchmod,
                                     fault_fsync, fault_close, fault_rename, fault_unlink};

static void arm(int at, enum how how, int error)
{
    memset(&fault, 0, sizeof fault);
    fault.at = at;
    fault.how = how;
    fault.error = error;
    vfs_use(&fault_vfs);
}

static const int errors[] = {ENOSPC, EIO, EINTR, EDQUOT, EROFS, ENOMEM, EINVAL, ENOENT};

/* Loop: error x how. */
START_TEST(writer_calls)
{
    const int error = errors[_i / 4];
    const enum how how = (enum how)(_i % 4);
    if (error == EINTR && how == FROM_THERE)
        return; /* would be tried again for ever */
    int failures = 0;
    for (int at = 1;; at++) {
        file_write(path, old_bytes, old_len);
        arm(at, how, error);
        const ann_err err = save_new();
        const bool renamed = fault.renamed, reached = fault.calls >= at;
        vfs_use(NULL);
        size_t n;
        uint8_t *p = file_read(path, &n);
        ck_assert_msg(p && (renamed ? is_new(p, n) : is_old(p, n)), "call %d, %s: not whole",
                      at, strerror(error));
        free(p);
        ck_assert_msg(folder_count(folder) == 1, "call %d, %s: a file is left", at,
                      strerror(error));
        if (err) {
            failures++;
            ck_assert_msg(strstr(error_message(), "x.kith: cannot ") != NULL, "%s",
                          error_message());
            ck_assert_msg(err == ANN_EIO || (error == ENOENT && err == ANN_ENOENT), "%s",
                          error_name(err));
        } else {
            ck_assert(renamed);
        }
        if (!reached)
            break;
        ck_assert_int_lt(at, 200);
    }
    if (how != SHORT_WRITE && error != EINTR)
        ck_assert_int_gt(failures, how == PART_THEN_FULL ? 3 : 10);
    if (how == SHORT_WRITE)
        ck_assert_int_eq(failures > 0, false);
}
END_TEST

START_TEST(reader_calls)
{
    const int error = errors[_i / 3];
    const enum how how = (enum how)(_i % 3);
    if (error == EINTR && how == FROM_THERE)
        return;
    for (int mode = 0; mode < 2; mode++) {
        int failures = 0;
        for (int at = 1;; at++) {
            struct kfile *f = NULL;
            arm(at, how, error);
            const ann_err err = kfile_open(path, (ann_open_mode)mode, 0, NULL, NULL, &f);
            const bool reached = fault.calls >= at;
            vfs_use(NULL);
            if (err) {
                failures++;
                ck_assert(err == ANN_EIO || (error == ENOENT && err == ANN_ENOENT));
                ck_assert_ptr_null(f);
            } else {
                ck_assert(sample_in(f, &before));
                kfile_close(f);
            }
            if (!reached)
                break;
            ck_assert_int_lt(at, 200);
        }
        if (how != SHORT_WRITE && error != EINTR)
            ck_assert_int_gt(failures, 2);
        else
            ck_assert_int_eq(failures, 0);
    }
}
END_TEST

/* ------------------------------------------------------------------ */
/* Out of memory                                                      */
/* ------------------------------------------------------------------ */

START_TEST(no_memory_saving)
{
    for (int persistent = 0; persistent < 2; persistent++) {
        file_write(path, old_bytes, old_len);
        for (uint64_t at = 1;; at++) {
            memory_fail_at(at, persistent);
            const ann_err err = save_new();
            memory_fail_at(0, false);
            if (err == ANN_OK)
                break;
            ck_assert_int_eq(err, ANN_ENOMEM);
            size_t n;
            uint8_t *p = file_read(path, &n);
            ck_assert(p && is_old(p, n));
            free(p);
            ck_assert_int_eq(folder_count(folder), 1);
            ck_assert_uint_lt(at, 500);
        }
    }
}
END_TEST

START_TEST(no_memory_opening)
{
    for (int i = 0; i < 4; i++) {
        uint64_t at = 1;
        for (;; at++) {
            struct kfile *f = NULL;
            memory_fail_at(at, i & 1);
            const ann_err err = kfile_open(path, (ann_open_mode)(i >> 1), 0, NULL, NULL, &f);
            memory_fail_at(0, false);
            if (err == ANN_OK) {
                ck_assert(sample_in(f, &before));
                kfile_close(f);
                break;
            }
            ck_assert_msg(err == ANN_ENOMEM, "%s %s", error_name(err), error_message());
            ck_assert_ptr_null(f);
            ck_assert_uint_lt(at, 500);
        }
        ck_assert_uint_gt(at, 5);
    }
}
END_TEST

/* ------------------------------------------------------------------ */
/* Killed                                                             */
/* ------------------------------------------------------------------ */

START_TEST(killed)
{
    unsigned seed = 1;
    for (int round = 0; round < 40; round++) {
        const pid_t child = fork();
        ck_assert_int_ge(child, 0);
        if (child == 0) {
            for (;;) {
                if (save_new() != ANN_OK ||
                    kfile_save(path, &before.meta, before.parts, SAMPLE_PARTS, NULL, NULL))
                    _exit(1);
            }
        }
        const struct timespec t = {0, (rand_r(&seed) % 20000) * 1000L};
        nanosleep(&t, NULL);
        int status;
        kill(child, SIGKILL);
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        ck_assert(WIFSIGNALED(status));
        size_t n;
        uint8_t *p = file_read(path, &n);
        ck_assert(p && (is_old(p, n) || is_new(p, n)));
        free(p);
        ck_assert_int_le(folder_count(folder), 2 + round);
    }
}
END_TEST

/* ------------------------------------------------------------------ */
/* Power loss                                                         */
/* ------------------------------------------------------------------ */

/* The calls of one save, as they happened. */
struct call {
    enum { CREATE, WRITE, SYNC, RENAME, UNLINK, SYNC_FOLDER, RETURNED } what;
    char from[128], to[128]; /* CREATE and UNLINK: from */
    size_t upto;             /* WRITE: bytes of the file so far */
};

static struct {
    struct call calls[64];
    int n;
    int fd, folder_fd; /* of the temporary file and the folder */
    size_t written;
    bool skip_sync, skip_folder_sync;
} tape;

static struct call *record(int what)
{
    ck_assert_int_lt(tape.n, 64);
    struct call *c = &tape.calls[tape.n++];
    memset(c, 0, sizeof *c);
    c->what = (__typeof__(c->what))what;
    c->upto = tape.written;
    return c;
}

static int tape_open(const char *p, int flags, mode_t mode)
{
    const int fd = vfs_system.open(p, flags, mode);
    if (flags & O_CREAT) {
        snprintf(record(CREATE)->from, 128, "%s", p);
        tape.fd = fd;
    } else {
        tape.folder_fd = fd;
    }
    return fd;
}

static ssize_t tape_write(int fd, const void *p, size_t n)
{
    const ssize_t w = vfs_system.write(fd, p, n);
    tape.written += (size_t)w;
    record(WRITE);
    return w;
}

static int tape_fsync(int fd)
{
    if (fd == tape.fd && !tape.skip_sync)
        record(SYNC);
    if (fd == tape.folder_fd && !tape.skip_folder_sync)
        record(SYNC_FOLDER);
    return 0;
}

static int tape_close(int fd)
{
    if (fd == tape.fd)
        tape.fd = -1;
    return vfs_system.close(fd);
}

static int tape_rename(const char *from, const char *to)
{
    struct call *c = record(RENAME);
    snprintf(c->from, sizeof c->from, "%s", from);
    snprintf(c->to, sizeof c->to, "%s", to);
    return vfs_system.rename(from, to);
}

static int tape_unlink(const char *p)
{
    snprintf(record(UNLINK)->from, 128, "%s", p);
    return vfs_system.unlink(p);
}

static const struct vfs tape_vfs = {tape_open,  tape_write, pread,       fchmod,
                                    tape_fsync, tape_close, tape_rename, tape_unlink};

/* What the temporary file may hold: `synced` bytes for sure, `written` at most. */
enum { NONE, HALF, ZEROED, ALL, CONTENTS };

static size_t content(int which, size_t synced, size_t written, uint8_t *p)
{
    const size_t n = which == NONE   ? synced
                     : which == HALF ? synced + (written - synced) / 2
                                     : written;
    memcpy(p, new_bytes, n);
    if (which == ZEROED)
        memset(p + synced, 0, n - synced);
    return n;
}

/* The disk after the first `n` calls and a power loss: of what the folder was not synced for,
 * only the entries in `subset` arrived.  True if path is whole, and new if the save had
 * returned. */
static bool survives(int n, unsigned subset, int which)
{
    size_t synced = 0, written = 0;
    int folder_synced = 0, pending = 0;
    bool returned = false, temp = false, target_is_new = false, target = true;
    for (int i = 0; i < n; i++)
        if (tape.calls[i].what == SYNC_FOLDER)
            folder_synced = i;
    for (int i = 0; i < n; i++) {
        const struct call *c = &tape.calls[i];
        bool arrives = true;
        if (c->what == CREATE || c->what == RENAME || c->what == UNLINK)
            arrives = i < folder_synced || (subset >> pending++ & 1);
        switch (c->what) {
        case CREATE:
            temp = arrives;
            break;
        case WRITE:
            written = c->upto;
            break;
        case SYNC:
            synced = written;
            break;
        case RENAME:
            if (arrives) {
                target_is_new = true;
                temp = false;
            }
            break;
        case UNLINK:
            if (arrives && strcmp(c->from, path) == 0)
                target = false;
            else if (arrives)
                temp = false;
            break;
        case SYNC_FOLDER:
            break;
        case RETURNED:
            returned = true;
            break;
        }
    }
    (void)temp; /* a leftover does no harm */
    if (!target)
        return false;
    if (!target_is_new)
        return !returned;
    uint8_t *p = malloc(new_len);
    const size_t len = content(which, synced, written, p);
    const bool whole = is_new(p, len);
    free(p);
    return whole;
}

/* Saves, then counts the states and those that are bad. */
static int simulate(int *states)
{
    file_write(path, old_bytes, old_len);
    tape.n = 0;
    tape.written = 0;
    tape.fd = tape.folder_fd = -1;
    vfs_use(&tape_vfs);
    ck_assert_int_eq(save_new(), ANN_OK);
    vfs_use(NULL);
    record(RETURNED);
    int bad = 0;
    *states = 0;
    for (int n = 0; n <= tape.n; n++) {
        int entries = 0;
        for (int i = 0; i < n; i++)
            entries += tape.calls[i].what == CREATE || tape.calls[i].what == RENAME ||
                       tape.calls[i].what == UNLINK;
        for (unsigned subset = 0; subset < 1u << entries; subset++)
            for (int which = 0; which < CONTENTS; which++) {
                bad += !survives(n, subset, which);
                ++*states;
            }
    }
    return bad;
}

START_TEST(power_loss)
{
    int states;
    memset(&tape, 0, sizeof tape);
    ck_assert_int_eq(simulate(&states), 0);
    ck_assert_int_gt(states, 50);
}
END_TEST

/* Writers that leave something out must be caught, or the test above proves nothing. */
START_TEST(power_loss_mutants)
{
    int states;
    memset(&tape, 0, sizeof tape);
    tape.skip_sync = true;
    ck_assert_int_gt(simulate(&states), 0);
    tape.skip_sync = false;
    tape.skip_folder_sync = true;
    ck_assert_int_gt(simulate(&states), 0);
    tape.skip_folder_sync = false;
    ck_assert_int_eq(simulate(&states), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("kfile_faults");
    TCase *tc = tcase_create("kfile_faults");
    suite_add_tcase(suite, tc);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, writer_calls, 0, 8 * 4);
    tcase_add_loop_test(tc, reader_calls, 0, 8 * 3);
    tcase_add_test(tc, no_memory_saving);
    tcase_add_test(tc, no_memory_opening);
    tcase_add_test(tc, killed);
    tcase_add_test(tc, power_loss);
    tcase_add_test(tc, power_loss_mutants);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
