/* sha256 FILE: hashes each record of FILE (a big-endian 16-bit length, then so many bytes: a bundle of log entries) as
 * the log hashes a leaf, and for each one node of the tree above, with OpenSSL. What checking a log cannot be faster
 * than. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct context {
	unsigned long long room[32]; /* SHA256_CTX takes 112 bytes */
};

/* Not SHA256(), which since OpenSSL 3 looks the algorithm up each time and takes three times as long. */
static int (*init)(struct context *);
static int (*update)(struct context *, const void *bytes, size_t len);
static int (*final)(unsigned char *ret, struct context *);

static int load(void)
{
	void *crypto = dlopen("libcrypto.so.3", RTLD_NOW);
	void *symbol[] = { crypto ? dlsym(crypto, "SHA256_Init") : NULL, crypto ? dlsym(crypto, "SHA256_Update") : NULL,
		           crypto ? dlsym(crypto, "SHA256_Final") : NULL };

	memcpy(&init, &symbol[0], sizeof init); /* C has no cast from an object to a function */
	memcpy(&update, &symbol[1], sizeof update);
	memcpy(&final, &symbol[2], sizeof final);
	return init && update && final;
}

static void sha256(const unsigned char *bytes, size_t len, unsigned char ret[32])
{
	struct context c;

	init(&c);
	update(&c, bytes, len);
	final(ret, &c);
}

int main(int argc, char **argv)
{
	unsigned char leaf[1 + 65535] = { 0 }, node[1 + 2 * 32] = { 1 }, hash[32] = { 0 };
	int fd = argc == 2 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1;
	struct stat s;

	if (!load() || fd < 0 || fstat(fd, &s) != 0)
		return 1;
	size_t size = (size_t)s.st_size;
	const unsigned char *bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);

	if (bytes == MAP_FAILED)
		return 1;
	for (size_t at = 0; at + 2 <= size;) {
		size_t len = (size_t)bytes[at] << 8 | bytes[at + 1];

		if (len > size - at - 2)
			return 1;
		memcpy(leaf + 1, bytes + at + 2, len);
		sha256(leaf, len + 1, node + 1 + 32);
		sha256(node, sizeof node, hash);
		memcpy(node + 1, hash, sizeof hash); /* so that no compiler leaves the work out */
		at += 2 + len;
	}
	printf("%02x\n", hash[0]);
	return 0;
}
