/* sha256 FILE: hashes each record of FILE (a big-endian 16-bit length, then so many bytes: a bundle of log entries) as the
 * log hashes a leaf, with OpenSSL. What checking a log cannot be faster than. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

typedef unsigned char *sha256_fn(const unsigned char *bytes, size_t len, unsigned char *ret);

int main(int argc, char **argv)
{
	unsigned char leaf[1 + 65535] = { 0 }, hash[32], sum = 0;
	int fd = argc == 2 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1;
	void *crypto = dlopen("libcrypto.so.3", RTLD_NOW);
	void *symbol = crypto ? dlsym(crypto, "SHA256") : NULL;
	sha256_fn *sha256;
	struct stat s;

	memcpy(&sha256, &symbol, sizeof sha256); /* C has no cast from an object to a function */
	if (fd < 0 || !sha256 || fstat(fd, &s) != 0)
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
		sha256(leaf, len + 1, hash);
		sum ^= hash[0];
		at += 2 + len;
	}
	printf("%02x\n", sum); /* so that no compiler leaves the work out */
	return 0;
}
