// What the timed programs of this directory share.
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

// The time in nanoseconds.
static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e9 + time.tv_nsec;
}

// The result of a system call, if it is no error.
static long need(const char *step, long result) {
    if (result < 0) {
        perror(step);
        exit(1);
    }
    return result;
}
