// How long what is done again and again takes; for the timed programs that ask for it.
#include "timing.h"

static int compare(const void *one, const void *other) {
    double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

static double median(double *values, int count) {
    qsort(values, count, sizeof *values, compare);
    return values[count / 2];
}

// Nanoseconds that a loop goes on at most, and how many batches it has at most.
#define LOOP 200e6
enum { BATCHES = 1000 };
static double batches[BATCHES];

// How long a step takes, again and again: the median of batches of so many steps that are timed together, since others use the
// processor too.
#define REPEAT(batch, step)                                           \
    ({                                                                \
        int count = 0;                                                \
        for (double end = now() + LOOP; count < BATCHES && now() < end; count++) { \
            double begin = now();                                     \
            for (int i = 0; i < (batch); i++) step;                   \
            batches[count] = (now() - begin) / (batch);               \
        }                                                             \
        median(batches, count);                                       \
    })
