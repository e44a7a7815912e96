// How long it takes what the shim answers, beat by beat, and many who read its files at once. Verbs of inside.c.

static void read_once(const char *path) {
    char text[4096];
    int fd = need(open(path, O_RDONLY | O_CLOEXEC));
    need(read(fd, text, sizeof text));
    close(fd);
}

static int by_size(const void *one, const void *other) {
    float a = *(const float *)one, b = *(const float *)other;
    return (a > b) - (a < b);
}

// pulse COUNT STOP: again and again two readings that ask the shim, sysinfo(2), a new procfs and its umount, until there is a file
// STOP; the file COUNT has how often so far. Prints how often, and the median and the longest time between two ends, in microseconds.
static void pulse(char **args) {
    enum { MOST = 1 << 20 };
    float *times = malloc(MOST * sizeof *times);
    int told = need(open(args[0], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)), beats = 0;
    make_dir("/tmp/pulse");
    for (double last = now(); beats < MOST && access(args[1], F_OK) < 0; beats++) {
        char text[24];
        struct sysinfo info;
        read_once("/proc/uptime");
        read_once("/proc/sys/kernel/panic");
        need(sysinfo(&info));
        need(mount("proc", "/tmp/pulse", "proc", 0, NULL));
        need(umount2("/tmp/pulse", 0));
        double end = now();
        times[beats] = (end - last) * 1e6;
        last = end;
        need(pwrite(told, text, sprintf(text, "%d\n", beats + 1), 0));
    }
    qsort(times, beats, sizeof *times, by_size);
    printf("%d %.0f %.0f\n", beats, beats ? times[beats / 2] : 0, beats ? times[beats - 1] : 0);
    exit(0);
}

// Every other of them writes back what it has read, and every third reads the beginning byte by byte.
static void *storm_files(void *paths) {
    static unsigned count;
    unsigned which = __sync_fetch_and_add(&count, 1);
    while (!stop) {
        for (char **path = paths; *path && !stop; path++) {
            char text[8192];
            int fd = which % 2 ? open(*path, O_RDWR | O_CLOEXEC) : -1;
            if (fd < 0) fd = open(*path, O_RDONLY | O_CLOEXEC);
            ssize_t length = fd < 0 ? -1 : read(fd, text, which % 3 ? sizeof text : 1);
            for (int more = 0; length == 1 && more < 64 && read(fd, text + 1, 1) == 1;) more++;
            int error = length < 0 && errno != EISDIR ? errno : 0;
            // What only shows may be opened by root, and takes nothing.
            if (which % 2 && length > 1 && pwrite(fd, text, length, 0) < 0 && errno != EBADF && errno != EACCES) error = errno;
            if (error) last_error = error;
            __sync_fetch_and_add(error ? &failed : &done, 1);
            close(fd);
        }
    }
    return NULL;
}

// storm THREADS STOP PATH...: so many threads read these files, and write what may be written, until there is a file STOP. Prints how
// many readings there were, how many did not work, and why.
static void storm(char **args) {
    pthread_t threads[64];
    long count = atol(args[0]);
    for (long i = 0; i < count && i < 64; i++) threads[i] = start(storm_files, args + 2);
    while (access(args[1], F_OK) < 0) usleep(10000);
    stop = 1;
    for (long i = 0; i < count && i < 64; i++) pthread_join(threads[i], NULL);
    printf("%ld %ld %s\n", done, failed, last_error ? strerrorname_np(last_error) : "none");
    exit(0);
}
