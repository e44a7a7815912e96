// emulated: what emulated files and trapped calls cost a program inside a privileged container, timed: `emulated DIRECTORY`
// prints a line `what nanoseconds` for each of
//   cold-FILE     open, read to the end and close, once in a while: nothing is fresh any more
//   loop-FILE     the same again and again
//   again-FILE    a file that stays open is read from its start again and again
//   write-sysctl  open, write what it has and close
//   mount-tmpfs   mount(2) and umount2(2) of a tmpfs on DIRECTORY
//   mount-proc    mount(2) of a new procfs there
//   sysctl-a, find  a run of `sysctl -a`, and of `find /proc /sys`
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "timing.h"

// Nanoseconds that a loop goes on at most; how many steps are timed together; how many cold reads there are.
#define LOOP 200e6
enum { BATCH = 8, BATCHES = 1000, COLD = 11 };

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
static double batches[BATCHES];

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

static int compare(const void *one, const void *other) {
    double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

static double median(double *values, int count) {
    qsort(values, count, sizeof *values, compare);
    return values[count / 2];
}

// How long a step takes, again and again: the median of batches, since others use the processor too.
#define REPEAT(step)                                                  \
    ({                                                                \
        int count = 0;                                                \
        for (double end = now() + LOOP; count < BATCHES && now() < end; count++) { \
            double begin = now();                                     \
            for (int i = 0; i < BATCH; i++) step;                     \
            batches[count] = (now() - begin) / BATCH;                 \
        }                                                             \
        median(batches, count);                                       \
    })

static double run(const char *const *command) {
    double begin = now();
    pid_t pid = need("fork", fork());
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        dup2(null, 1);
        dup2(null, 2);
        execvp(command[0], (char *const *)command);
        _exit(127);
    }
    // What may not be read is in neither's way; a command that is not there is.
    int status;
    waitpid(pid, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) == 127) {
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
        printf("loop-%s %.0f\n", name, REPEAT(read_file(path)));
        int fd = need(path, open(path, O_RDONLY));
        printf("again-%s %.0f\n", name, REPEAT(read_again(fd)));
        close(fd);
    }
    const char *sysctl = files[FILES - 1].path;
    int fd = need(sysctl, open(sysctl, O_RDONLY));
    long length = need(sysctl, read(fd, text, sizeof text));
    close(fd);
    printf("write-sysctl %.0f\n", REPEAT(write_back(sysctl, length)));

    printf("mount-tmpfs %.0f\n", REPEAT(mount_tmpfs(argv[1])));
    double mounts[COLD];
    for (int round = 0; round < COLD; round++) {
        double begin = now();
        need("mount proc", mount("none", argv[1], "proc", 0, ""));
        mounts[round] = now() - begin;
        need("umount proc", umount2(argv[1], 0));
    }
    printf("mount-proc %.0f\n", median(mounts, COLD));

    const char *const all[] = {"sysctl", "-a", NULL}, *const find[] = {"find", "/proc", "/sys", NULL};
    double seconds[2][3];
    for (int round = 0; round < 3; round++) {
        seconds[0][round] = run(all);
        seconds[1][round] = run(find);
    }
    printf("sysctl-a %.0f\nfind %.0f\n", median(seconds[0], 3), median(seconds[1], 3));
    return 0;
}
