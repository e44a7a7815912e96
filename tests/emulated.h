// What is done to a file of /proc that may be written, an integer, and what comes of it. A verb of inside.c.
#include <sys/file.h>
#include <sys/inotify.h>

static void tell(const char *what, long result) { printf("%s %s\n", what, error_name(result)); }

// answers PATH: what calls say that would change a file, or that move in it, a line each.
static void answers(char **args) {
    const char *path = args[0];
    char beside[PATH_MAX];
    snprintf(beside, sizeof beside, "%s-beside", path);
    tell("truncate(2)", truncate(path, 0));
    tell("open(2) with O_TRUNC", open(path, O_WRONLY | O_TRUNC | O_CLOEXEC));
    tell("chmod(2)", chmod(path, 0777));
    tell("chown(2)", chown(path, 5, 5));
    tell("utimensat(2)", utimensat(AT_FDCWD, path, NULL, 0));
    tell("setxattr(2)", setxattr(path, "user.x", "y", 1, 0));
    tell("rename(2) to a new name", rename(path, beside));
    tell("unlink(2)", unlink(path));
    tell("link(2)", link(path, beside));
    tell("open(2) of a new name beside it", open(beside, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    tell("mkdir(2) beside it", mkdir(beside, 0700));
    int fd = need(open(path, O_RDONLY | O_CLOEXEC));
    tell("ftruncate(2) of a descriptor for reading", ftruncate(fd, 0));
    tell("lseek(2) to 1 TiB", lseek(fd, 1L << 40, SEEK_SET));
    tell("lseek(2) below 0", lseek(fd, -1, SEEK_SET));
    tell("lseek(2) from the end", lseek(fd, 0, SEEK_END));
    tell("lseek(2) to data", lseek(fd, 0, SEEK_DATA));
    tell("lseek(2) to a hole", lseek(fd, 0, SEEK_HOLE));
    exit(0);
}

static void *write_all_the_time(void *path) {
    for (int turn = 0; !stop; turn++) {
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd < 0 || write(fd, turn % 2 ? "111111" : "222222", 6) != 6) last_error = errno;
        close(fd);
    }
    return NULL;
}

// setting PATH: everything that there is to do to it, a line each, so that one can be compared with another.
static void setting(char **args) {
    const char *path = args[0];
    char text[64] = "", link_path[64];
    struct stat before, after;
    need(stat(path, &before));
    int fd = need(open(path, O_RDWR | O_CLOEXEC));
    // What is written.
    static const char *writes[] = {"4096", "4097\n", " 4098 ", "x", "-", "", "0x1000", "010", "99999999999999999999",
                                   "1.5", "\n", "4101\0002"};
    for (unsigned i = 0; i < sizeof writes / sizeof *writes; i++) {
        char name[64];
        need(pwrite(fd, "4242", 4, 0));
        long wrote = pwrite(fd, writes[i], i == 11 ? 6 : strlen(writes[i]), 0);
        snprintf(name, sizeof name, "write-%u=%ld", i, wrote);
        tell(name, wrote);
        memset(text, 0, sizeof text);
        need(pread(fd, text, sizeof text - 1, 0));
        printf("read %s", text);
    }
    size_t huge = 1 << 20;
    char *megabyte = malloc(huge);
    memset(megabyte, '7', huge);
    tell("write-huge", pwrite(fd, megabyte, huge, 0));
    memset(megabyte, ' ', huge), memset(megabyte, '\0', 1);
    tell("write-nothing", pwrite(fd, megabyte, 16, 0));
    tell("write-bad-memory", syscall(SYS_pwrite64, fd, 1L, 4L, 0L));
    // Where.
    need(pwrite(fd, "4242\n", 5, 0));
    printf("write-later %ld\n", (long)pwrite(fd, "5", 1, 2));
    printf("read-at-1 %ld\n", (long)pread(fd, text, 2, 1));
    printf("read-at-end %ld\n", (long)pread(fd, text, 2, 5));
    printf("read-beyond %ld\n", (long)pread(fd, text, 2, 1 << 30));
    tell("read-negative", pread(fd, text, 2, -1));
    printf("seek-end %ld\n", (long)lseek(fd, 0, SEEK_SET));
    tell("seek-data", lseek(fd, 0, SEEK_DATA));
    tell("seek-negative", lseek(fd, -5, SEEK_SET));
    lseek(fd, 0, SEEK_SET);
    // One by one, and again.
    int length = 0;
    while (read(fd, text + length, 1) == 1 && length < 32) length++;
    printf("bytewise %d\n", length);
    // What it is.
    tell("truncate", truncate(path, 0));
    tell("ftruncate", ftruncate(fd, 2));
    int other = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    tell("open-truncate", other);
    tell("open-append", open(path, O_WRONLY | O_APPEND | O_CLOEXEC));
    tell("open-create", open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    tell("open-directory", open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    tell("map-private", mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED ? -1 : 0);
    tell("map-shared", mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0);
    tell("fallocate", fallocate(fd, 0, 0, 10));
    tell("chmod", chmod(path, 0777));
    tell("chown", chown(path, 5, 5));
    tell("rename", rename(path, "/proc/sys/kernel/other"));
    tell("unlink", unlink(path));
    tell("link", link(path, "/proc/sys/kernel/other"));
    tell("setxattr", setxattr(path, "user.x", "y", 1, 0));
    tell("setxattr-trusted", setxattr(path, "trusted.x", "y", 1, 0));
    tell("getxattr", getxattr(path, "user.x", text, sizeof text));
    tell("utimes", utimensat(AT_FDCWD, path, NULL, 0));
    tell("execute", execl(path, "x", NULL));
    tell("chdir", chdir(path));
    // Locks, and who is told.
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    tell("lock", fcntl(fd, F_SETLK, &lock));
    tell("flock", flock(fd, LOCK_EX | LOCK_NB));
    tell("inotify", inotify_add_watch(inotify_init1(IN_CLOEXEC), path, IN_MODIFY));
    // By a descriptor that is none for reading.
    int place = need(open(path, O_PATH | O_CLOEXEC));
    tell("path-read", read(place, text, 1));
    snprintf(link_path, sizeof link_path, "/proc/self/fd/%d", place);
    other = open(link_path, O_RDWR | O_CLOEXEC);
    tell("path-open", other);
    tell("path-write", write(other, "4243", 4));
    // Many at once: what is read is one of the values, whole.
    pthread_t threads[] = {start(write_all_the_time, args[0]), start(write_all_the_time, args[0])};
    long torn = 0;
    for (int i = 0; i < 300; i++) {
        memset(text, 0, sizeof text);
        pread(fd, text, sizeof text - 1, 0);
        torn += strcmp(text, "111111\n") && strcmp(text, "222222\n") && strcmp(text, "4243\n");
    }
    stop = 1;
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    printf("torn %ld %s\n", torn, last_error ? strerrorname_np(last_error) : "none");
    // Readers that are killed in the middle of it.
    for (int i = 0; i < 40; i++) {
        pid_t child = need(fork());
        if (child == 0)
            for (;;) pread(fd, text, sizeof text, 0), pwrite(fd, "4244", 4, 0);
        usleep(i * 37 % 1000);
        need(kill(child, SIGKILL));
        need(waitpid(child, NULL, 0));
    }
    memset(text, 0, sizeof text);
    need(pwrite(fd, "4245", 4, 0));
    need(pread(fd, text, sizeof text - 1, 0));
    printf("at last %s", text);
    need(stat(path, &after));
    printf("mode %o %o owner %d links %d\n", before.st_mode, after.st_mode, after.st_uid, (int)after.st_nlink);
    exit(0);
}
