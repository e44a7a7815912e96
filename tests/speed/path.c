// path: what a program inside a container does all day, timed: `path DIRECTORY` prints a line `what value` for each of
// some system calls (nanoseconds a call), fork+exec (microseconds), and writing and reading a file of 128 MiB in DIRECTORY
// (milliseconds).
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "repeat.h"

// How many calls are timed together: less than what the scheduler gives a process at a time, so that most batches are whole.
enum { STEPS = 100 };
enum { MIB = 1 << 20, FILE_MIB = 128 };

static void sequential(const char *what, int flags) {
    static char block[MIB];
    memset(block, 'x', sizeof block);
    int fd = need("open", open("path.data", flags, 0600));
    double begin = now();
    for (int i = 0; i < FILE_MIB; i++) {
        if (flags & O_WRONLY) need("write", write(fd, block, MIB));
        else need("read", read(fd, block, MIB));
    }
    printf("%s %.3f\n", what, (now() - begin) / 1e6);
    close(fd);
}

static void make_again(const char *path) {
    if (mknod(path, S_IFREG | 0600, 0) == 0 || errno != EEXIST) need("mknod of what is there", -1);
}

// What neither ours nor an engine's profile keeps from a container. By number alone the kernel decides all but the last three
// (seccomp_cache_prepare() of kernel/seccomp.c): of socket(2) our base filter looks at an argument, of mknod(2) our trap filter,
// of personality(2) Docker's profile.
static void calls(void) {
    static int nobody;
    int fd = need("open", open("path.data", O_CREAT | O_TRUNC | O_RDWR, 0600));
    char byte = 'x';
    need("write", write(fd, &byte, 1));
    printf("getppid %.2f\n", REPEAT(STEPS, syscall(SYS_getppid)));
    printf("pread %.2f\n", REPEAT(STEPS, need("pread", pread(fd, &byte, 1, 0))));
    printf("futex %.2f\n", REPEAT(STEPS, need("futex", syscall(SYS_futex, &nobody, FUTEX_WAKE, 1, NULL, NULL, 0))));
    printf("open+close %.2f\n", REPEAT(STEPS, close(need("open", open("path.data", O_RDONLY)))));
    printf("socket+close %.2f\n", REPEAT(STEPS, close(need("socket", socket(AF_UNIX, SOCK_STREAM, 0)))));
    printf("mknod %.2f\n", REPEAT(STEPS, make_again("path.data")));
    printf("personality %.2f\n", REPEAT(STEPS, need("personality", personality(0xffffffff))));
    close(fd);
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    if (strcmp(argv[1], "--exit") == 0) return 0;
    need(argv[1], chdir(argv[1]));

    calls();

    int forks = 500;
    double begin = now();
    for (int i = 0; i < forks; i++) {
        pid_t pid = need("fork", fork());
        if (pid == 0) {
            execl("/proc/self/exe", "path", "--exit", NULL);
            _exit(1);
        }
        waitpid(pid, NULL, 0);
    }
    printf("fork+exec %.2f\n", (now() - begin) / forks / 1e3);

    sequential("write", O_CREAT | O_TRUNC | O_WRONLY);
    sequential("read", O_RDONLY);
    unlink("path.data");
    return 0;
}
