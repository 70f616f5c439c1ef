/* process.c - children by fork and exec; see process.h.
 *
 * Place: bench, a leaf. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ann/base/error.h"
#include "bench/process.h"

static int wait_for(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

ann_err process_run(const char *const argv[], const char *folder, const char *log, int *status)
{
    fflush(NULL);
    const pid_t pid = fork();
    if (pid < 0)
        return ANN_FAIL(ANN_EIO, "%s: cannot be started: %s", argv[0], strerror(errno));
    if (!pid) {
        if (folder && chdir(folder))
            _exit(126);
        const int in = open("/dev/null", O_RDONLY);
        if (in >= 0)
            dup2(in, 0);
        if (log) {
            const int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0666);
            if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
                _exit(126);
        }
        execvp(argv[0], (char *const *)argv);
        _exit(127);
    }
    *status = wait_for(pid);
    return ANN_OK;
}

ann_err process_open(struct process *p, const char *const argv[],
                     const char *const environment[])
{
    int to[2], from[2];
    memset(p, 0, sizeof *p);
    if (pipe2(to, O_CLOEXEC))
        return ANN_FAIL(ANN_EIO, "no pipe: %s", strerror(errno));
    if (pipe2(from, O_CLOEXEC)) {
        close(to[0]);
        close(to[1]);
        return ANN_FAIL(ANN_EIO, "no pipe: %s", strerror(errno));
    }
    fflush(NULL);
    p->pid = fork();
    if (!p->pid) {
        dup2(to[0], 0);
        dup2(from[1], 1);
        for (; environment && *environment; environment++)
            putenv((char *)*environment);
        execvp(argv[0], (char *const *)argv);
        _exit(127);
    }
    close(to[0]);
    close(from[1]);
    p->to = fdopen(to[1], "w");
    p->from = fdopen(from[0], "r");
    if (p->pid < 0 || !p->to || !p->from) {
        if (!p->to)
            close(to[1]);
        if (!p->from)
            close(from[0]);
        process_close(p);
        return ANN_FAIL(ANN_EIO, "%s: cannot be started: %s", argv[0], strerror(errno));
    }
    signal(SIGPIPE, SIG_IGN); /* a child that died is an error of ours, not our end */
    return ANN_OK;
}

ann_err process_ask(struct process *p, const char *text, size_t bytes, const char **answer)
{
    if (fwrite(text, 1, bytes, p->to) != bytes || fputc('\n', p->to) == EOF || fflush(p->to) ||
        getline(&p->line, &p->capacity, p->from) <= 0)
        return ANN_FAIL(ANN_EIO, "the helper process ended unexpectedly");
    *answer = p->line;
    return ANN_OK;
}

void process_close(struct process *p)
{
    if (p->to)
        fclose(p->to);
    if (p->from)
        fclose(p->from);
    if (p->pid > 0)
        wait_for(p->pid);
    free(p->line);
    memset(p, 0, sizeof *p);
}
