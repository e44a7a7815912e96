// path: what a program inside a container does all day, timed: `path DIRECTORY` prints a line `what value` for each of
// getppid and open/close (nanoseconds a call), fork+exec (microseconds), and writing and reading a file of 128 MiB in
// DIRECTORY (milliseconds).
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "timing.h"

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

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    if (strcmp(argv[1], "--exit") == 0) return 0;
    need(argv[1], chdir(argv[1]));

    int calls = 2000000;
    double begin = now();
    for (int i = 0; i < calls; i++) syscall(SYS_getppid);
    printf("getppid %.2f\n", (now() - begin) / calls);

    close(need("open", open("path.data", O_CREAT | O_WRONLY, 0600)));
    calls = 200000;
    begin = now();
    for (int i = 0; i < calls; i++) close(need("open", open("path.data", O_RDONLY)));
    printf("open+close %.2f\n", (now() - begin) / calls);

    calls = 500;
    begin = now();
    for (int i = 0; i < calls; i++) {
        pid_t pid = need("fork", fork());
        if (pid == 0) {
            execl("/proc/self/exe", "path", "--exit", NULL);
            _exit(1);
        }
        waitpid(pid, NULL, 0);
    }
    printf("fork+exec %.2f\n", (now() - begin) / calls / 1e3);

    sequential("write", O_CREAT | O_TRUNC | O_WRONLY);
    sequential("read", O_RDONLY);
    unlink("path.data");
    return 0;
}
