// emulated: what emulated files and trapped calls cost a program inside a privileged container, timed: `emulated DIRECTORY`
// prints a line `what nanoseconds` for each of
//   cold-FILE     open, read to the end and close, once in a while: nothing is fresh any more
//   loop-FILE     the same again and again
//   again-FILE    a file that stays open is read from its start again and again
//   write-sysctl  open, write what it has and close
//   mount-tmpfs   mount(2) and umount2(2) of a tmpfs on DIRECTORY
//   mount-proc    mount(2) of a new procfs there
//   bind          a plain bind of DIRECTORY on itself, and its umount2(2)
//   open_tree     open_tree(2) of a clone of it, as a bind by the new calls begins, and close(2)
//   openat2       openat2(2) of it and close(2)
//   sysctl-a, find, inner  a run of `sysctl -a`, of `find /proc /sys`, and of `true` in a container of runc's, of the bundle /inner
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "repeat.h"

// How many steps are timed together; how many cold reads there are.
enum { BATCH = 8, COLD = 11 };

static const struct {
    const char *name, *path;
} files[] = {
    {"uptime", "/proc/uptime"},
    {"meminfo", "/proc/meminfo"},
    {"stat", "/proc/stat"},
    {"sysctl", "/proc/sys/kernel/panic"},
};
enum { FILES = sizeof files / sizeof *files };

static char text[4096];

static long to_the_end(int fd) {
    long length = 0, more;
    while ((more = need("read", read(fd, text, sizeof text)))) length += more;
    return length;
}

static void read_file(const char *path) {
    int fd = need(path, open(path, O_RDONLY));
    to_the_end(fd);
    close(fd);
}

static void read_again(int fd) {
    need("lseek", lseek(fd, 0, SEEK_SET));
    to_the_end(fd);
}

static void write_back(const char *path, long length) {
    int fd = need(path, open(path, O_WRONLY));
    need("write", write(fd, text, length));
    close(fd);
}

static void mount_tmpfs(const char *directory) {
    need("mount tmpfs", mount("none", directory, "tmpfs", 0, ""));
    need("umount tmpfs", umount2(directory, 0));
}

static void bind(const char *directory) {
    need("bind", mount(directory, directory, "", MS_BIND, ""));
    need("umount of a bind", umount2(directory, 0));
}

static void open_clone(const char *directory) {
    close(need("open_tree", syscall(SYS_open_tree, AT_FDCWD, directory, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)));
}

static void open_by_new(const char *directory) {
    struct open_how how = {.flags = O_RDONLY | O_DIRECTORY};
    close(need("openat2", syscall(SYS_openat2, AT_FDCWD, directory, &how, sizeof how)));
}

// How long a command takes, whose exit code is at most `worst`.
static double run(const char *const *command, int worst) {
    double begin = now();
    pid_t pid = need("fork", fork());
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        dup2(null, 1);
        dup2(null, 2);
        execvp(command[0], (char *const *)command);
        _exit(127);
    }
    int status;
    waitpid(pid, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) > worst) {
        fprintf(stderr, "emulated: %s does not run\n", command[0]);
        exit(1);
    }
    return now() - begin;
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    double cold[FILES][COLD];
    for (int round = 0; round < COLD; round++) {
        // Longer than anything is fresh that is not for a second.
        usleep(130000);
        for (int file = 0; file < FILES; file++) {
            double begin = now();
            read_file(files[file].path);
            cold[file][round] = now() - begin;
        }
    }
    for (int file = 0; file < FILES; file++) {
        const char *name = files[file].name, *path = files[file].path;
        printf("cold-%s %.0f\n", name, median(cold[file], COLD));
        printf("loop-%s %.0f\n", name, REPEAT(BATCH, read_file(path)));
        int fd = need(path, open(path, O_RDONLY));
        printf("again-%s %.0f\n", name, REPEAT(BATCH, read_again(fd)));
        close(fd);
    }
    const char *sysctl = files[FILES - 1].path;
    int fd = need(sysctl, open(sysctl, O_RDONLY));
    long length = need(sysctl, read(fd, text, sizeof text));
    close(fd);
    printf("write-sysctl %.0f\n", REPEAT(BATCH, write_back(sysctl, length)));

    printf("mount-tmpfs %.0f\n", REPEAT(BATCH, mount_tmpfs(argv[1])));
    double mounts[COLD];
    for (int round = 0; round < COLD; round++) {
        double begin = now();
        need("mount proc", mount("none", argv[1], "proc", 0, ""));
        mounts[round] = now() - begin;
        need("umount proc", umount2(argv[1], 0));
    }
    printf("mount-proc %.0f\n", median(mounts, COLD));

    printf("bind %.0f\n", REPEAT(BATCH, bind(argv[1])));
    printf("open_tree %.0f\n", REPEAT(BATCH, open_clone(argv[1])));
    printf("openat2 %.0f\n", REPEAT(BATCH, open_by_new(argv[1])));

    const char *const all[] = {"sysctl", "-a", NULL}, *const find[] = {"find", "/proc", "/sys", NULL};
    const char *const inner[] = {"/usr/sbin/runc", "--root", "/tmp/runc", "run", "--bundle", "/inner", "inner", NULL};
    double taken[3][COLD];
    for (int round = 0; round < 3; round++) {
        // What may not be read is in neither's way.
        taken[0][round] = run(all, 1);
        taken[1][round] = run(find, 1);
    }
    for (int round = 0; round < COLD; round++) taken[2][round] = run(inner, 0);
    printf("sysctl-a %.0f\nfind %.0f\ninner %.0f\n", median(taken[0], 3), median(taken[1], 3), median(taken[2], COLD));
    return 0;
}
