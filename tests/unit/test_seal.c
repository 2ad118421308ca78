#include "core/seal.h"

#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/arena.h"
#include "tests/unit/test.h"

#define HEX_00_1F "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define HEX_20_3F "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f"

static char dir[] = "/tmp/rotor-test-seal-XXXXXX";
static char keys[128];
static unsigned char wrapped[SEAL_WRAPPED_MAX];
static size_t wrapped_len;

static const char *file(const char *name)
{
	static char path[256];
	snprintf(path, sizeof path, "%s/%s", keys, name);
	return path;
}

static void put(const char *name, const char *text, size_t len, mode_t mode)
{
	unlink(file(name));
	int fd = open(file(name), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
	CHECK(fd >= 0 && write(fd, text, len) == (ssize_t)len && fchmod(fd, mode) == 0);
	close(fd);
}

static size_t get(const char *name, char text[256])
{
	int fd = open(file(name), O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, text, 255);
	close(fd);
	CHECK(n >= 0);
	text[n < 0 ? 0 : n] = '\0';
	return n < 0 ? 0 : (size_t)n;
}

static struct seal *open_seal(void)
{
	struct seal *s = NULL;
	struct err e = { 0 };
	if (!seal_open(keys, wrapped, wrapped_len, &s, &e)) {
		printf("Bail out! %s\n", e.message);
		exit(1);
	}
	return s;
}

/* ---- making and opening ---- */

static void test_create(void)
{
	static const char *const names[] = { "kek", "log.fp", "find.fp" };
	char text[3][256];
	struct err e = { 0 };
	struct stat st;
	TEST("three key files of hex text, for the owner alone whatever the umask");
	mode_t mask = umask(0277);
	CHECK(seal_create(keys, wrapped, &wrapped_len, &e));
	umask(mask);
	CHECK(wrapped_len == 73 && wrapped[0] == 1);
	for (size_t i = 0; i < 3; i++) {
		CHECK(get(names[i], text[i]) == 65 && text[i][64] == '\n' && strspn(text[i], "0123456789abcdef") == 64);
		CHECK(stat(file(names[i]), &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 07777) == 0600);
	}
	CHECK(strcmp(text[0], text[1]) != 0 && strcmp(text[0], text[2]) != 0 && strcmp(text[1], text[2]) != 0);
	seal_free(open_seal());
	seal_free(NULL);
	TEST("keys that are there are never written over");
	char now[256];
	unsigned char other[SEAL_WRAPPED_MAX];
	size_t len = 0;
	CHECK(!seal_create(keys, other, &len, &e) && e.code == ERR_REFUSED && len == 0);
	CHECK(get("kek", now) == 65 && strcmp(now, text[0]) == 0);
	TEST("a failure takes back what was made, and only that");
	unlink(file("kek"));
	unlink(file("log.fp"));
	CHECK(!seal_create(keys, other, &len, &e) && e.code == ERR_REFUSED && strstr(e.message, "find.fp"));
	CHECK(access(file("kek"), F_OK) != 0 && access(file("log.fp"), F_OK) != 0);
	CHECK(get("find.fp", now) == 65 && strcmp(now, text[2]) == 0);
	put("kek", text[0], 65, 0600);
	put("log.fp", text[1], 65, 0600);
	TEST("without a folder there are no keys");
	CHECK(!seal_create("/nonexistent/keys", other, &len, &e) && e.code == ERR_REFUSED);
	CHECK(!seal_create(file("kek"), other, &len, &e));
}

static void refused(const char *part)
{
	struct seal *s = NULL;
	struct err e = { 0 };
	CHECK(!seal_open(keys, wrapped, wrapped_len, &s, &e) && !s);
	CHECK(e.code == ERR_REFUSED && strstr(e.message, part) && !strstr(e.message, "corrupt"));
	if (!strstr(e.message, part))
		printf("# got '%s'\n", e.message);
}

static void test_open_checks(void)
{
	static const char *const names[] = { "kek", "log.fp", "find.fp" };
	char good[256], bad[256], other[300];
	TEST("a key file that is missing, open to others, not regular or of another size is refused");
	for (size_t i = 0; i < 3; i++) {
		CHECK(get(names[i], good) == 65);
		unlink(file(names[i]));
		refused("cannot open key file");
		static const mode_t open_modes[] = { 0640, 0604, 0610, 0601, 0620, 0602 };
		for (size_t m = 0; m < sizeof open_modes / sizeof *open_modes; m++) {
			put(names[i], good, 65, open_modes[m]);
			refused("is open to others");
		}
		put(names[i], good, 64, 0600);
		refused("has 64 bytes, not 65");
		put(names[i], "", 0, 0600);
		refused("has 0 bytes");
		memcpy(bad, good, 65);
		bad[65] = '\n';
		put(names[i], bad, 66, 0600);
		refused("has 66 bytes");
		bad[64] = ' ';
		put(names[i], bad, 65, 0600);
		refused("is not 64 hex digits");
		bad[64] = '\n';
		bad[63] = 'g';
		put(names[i], bad, 65, 0600);
		refused("is not 64 hex digits");
		unlink(file(names[i]));
		CHECK(mkfifo(file(names[i]), 0600) == 0);
		refused("is no regular file");
		unlink(file(names[i]));
		snprintf(other, sizeof other, "%s.there", file(names[i]));
		put(strrchr(other, '/') + 1, good, 65, 0600);
		CHECK(symlink(other, file(names[i])) == 0);
		refused("cannot open key file");
		unlink(other);
		put(names[i], good, 65, 0600);
	}
	if (geteuid() == 0) {
		TEST("a key file of another user is refused");
		CHECK(chown(file("kek"), 1, (gid_t)-1) == 0);
		refused("belongs to uid 1");
		CHECK(chown(file("kek"), 0, (gid_t)-1) == 0);
	}
	seal_free(open_seal());
}

static void test_wrong_key(void)
{
	static const char *const names[] = { "kek", "log.fp", "find.fp" };
	char good[256], log_fp[256], find_fp[256];
	TEST("another key is called the wrong key");
	for (size_t i = 0; i < 3; i++) {
		CHECK(get(names[i], good) == 65);
		put(names[i], HEX_00_1F "\n", 65, 0600);
		refused("do not fit this state: kek, log.fp or find.fp is a wrong key");
		put(names[i], good, 65, 0600);
	}
	TEST("nor do the fingerprint keys change places");
	CHECK(get("log.fp", log_fp) == 65 && get("find.fp", find_fp) == 65);
	put("log.fp", find_fp, 65, 0600);
	put("find.fp", log_fp, 65, 0600);
	refused("wrong key");
	put("log.fp", log_fp, 65, 0600);
	put("find.fp", find_fp, 65, 0600);
	TEST("every bit of the wrapped data key counts");
	for (size_t bit = 0; bit < wrapped_len * 8; bit++) {
		wrapped[bit / 8] ^= (unsigned char)(1 << bit % 8);
		refused(bit < 8 ? "a form that this rotor does not know" : "wrong key");
		wrapped[bit / 8] ^= (unsigned char)(1 << bit % 8);
	}
	TEST("a wrapped key of another length is no key");
	for (size_t real = wrapped_len, len = 0; len <= SEAL_WRAPPED_MAX; len++) {
		wrapped_len = len;
		if (len != real)
			refused("a form that this rotor does not know");
		wrapped_len = real;
	}
	seal_free(open_seal());
}

/* ---- values ---- */

static void test_values(void)
{
	struct seal *s = open_seal();
	struct err e = { 0 };
	static const char value[] = "correct horse";
	size_t len = sizeof value - 1, got = 0;
	AUTO_BUF sealed = BUF_INIT(1000);
	AUTO_BUF again = BUF_INIT(1000);
	AUTO_FIELDS *f = fields_new();
	TEST("a value opens where it was sealed");
	buf_str(&sealed, "x"); /* it is appended */
	CHECK(seal_value(s, "prod/db", 3, "password", value, len, &sealed));
	CHECK(sealed.len == 1 + len + SEAL_OVERHEAD && sealed.data[0] == 'x');
	memmove(sealed.data, sealed.data + 1, --sealed.len);
	CHECK(!memmem(sealed.data, sealed.len, value, len));
	CHECK(seal_unseal(s, "prod/db", 3, "password", sealed.data, sealed.len, f, &e));
	CHECK_STR(fields_get(f, "password", &got), value);
	CHECK(got == len && fields_count(f) == 1);
	TEST("the same value is never sealed to the same bytes");
	CHECK(seal_value(s, "prod/db", 3, "password", value, len, &again));
	CHECK(again.len == sealed.len && memcmp(again.data, sealed.data, 24) != 0 &&
	      memcmp(again.data + 24, sealed.data + 24, len) != 0);
	TEST("nowhere else");
	fields_free(f);
	f = fields_new();
	CHECK(!seal_unseal(s, "prod/dc", 3, "password", sealed.data, sealed.len, f, &e) && e.code == ERR_FAILED);
	CHECK(!strstr(e.message, value));
	CHECK(!seal_unseal(s, "prod/db", 4, "password", sealed.data, sealed.len, f, &e));
	CHECK(!seal_unseal(s, "prod/db", 3, "passwor", sealed.data, sealed.len, f, &e));
	CHECK(!seal_unseal(s, "prod/dbp", 3, "assword", sealed.data, sealed.len, f, &e));
	CHECK(!seal_unseal(s, "", 3, "password", sealed.data, sealed.len, f, &e));
	TEST("nor altered or cut");
	for (size_t bit = 0; bit < sealed.len * 8; bit++) {
		sealed.data[bit / 8] ^= (char)(1 << bit % 8);
		CHECK(!seal_unseal(s, "prod/db", 3, "password", sealed.data, sealed.len, f, &e));
		sealed.data[bit / 8] ^= (char)(1 << bit % 8);
	}
	for (size_t cut = 0; cut < sealed.len; cut++)
		CHECK(!seal_unseal(s, "prod/db", 3, "password", sealed.data, cut, f, &e) && e.code == ERR_FAILED);
	CHECK(fields_count(f) == 0);
	seal_free(s);
}

static void test_other_home(void)
{
	struct seal *s = open_seal(), *other = NULL;
	struct err e = { 0 };
	char mine[128];
	unsigned char theirs[SEAL_WRAPPED_MAX];
	size_t len = 0;
	AUTO_BUF sealed = BUF_INIT(1000);
	AUTO_FIELDS *f = fields_new();
	TEST("a value of one home does not open in another");
	CHECK(seal_value(s, "a", 1, "password", "value", 5, &sealed));
	memcpy(mine, keys, sizeof mine);
	snprintf(keys, sizeof keys, "%s/other", dir);
	CHECK(mkdir(keys, 0700) == 0 && seal_create(keys, theirs, &len, &e) &&
	      seal_open(keys, theirs, len, &other, &e));
	CHECK(!seal_unseal(other, "a", 1, "password", sealed.data, sealed.len, f, &e));
	CHECK(seal_unseal(s, "a", 1, "password", sealed.data, sealed.len, f, &e));
	seal_free(other);
	unlink(file("kek"));
	unlink(file("log.fp"));
	unlink(file("find.fp"));
	rmdir(keys);
	memcpy(keys, mine, sizeof keys);
	seal_free(s);
}

static void test_sizes(void)
{
	struct seal *s = open_seal();
	struct err e = { 0 };
	AUTO_BUF sealed = BUF_INIT(FIELDS_VALUE_MAX + SEAL_OVERHEAD);
	AUTO_BUF small = BUF_INIT(SEAL_OVERHEAD + 4);
	AUTO_FIELDS *f = fields_new();
	size_t got = 0;
	char *large = malloc(FIELDS_VALUE_MAX + 1);
	memset(large, 'v', FIELDS_VALUE_MAX + 1);
	TEST("from the empty value to the largest");
	CHECK(seal_value(s, "a", 1, "url", NULL, 0, &small) && small.len == SEAL_OVERHEAD);
	CHECK(seal_unseal(s, "a", 1, "url", small.data, small.len, f, &e));
	CHECK_STR(fields_get(f, "url", &got), "");
	CHECK(seal_value(s, "a", 1, "key", large, FIELDS_VALUE_MAX, &sealed));
	CHECK(seal_unseal(s, "a", 1, "key", sealed.data, sealed.len, f, &e));
	CHECK(fields_get(f, "key", &got) && got == FIELDS_VALUE_MAX);
	TEST("what could not be opened again is not sealed");
	buf_reset(&small);
	CHECK(!seal_value(s, "a", 1, "url", "12345", 5, &small) && small.len == 0);
	buf_reset(&sealed);
	sealed.max += 1;
	CHECK(!seal_value(s, "a", 1, "key", large, FIELDS_VALUE_MAX + 1, &sealed) && sealed.len == 0);
	free(large);
	seal_free(s);
}

/* ---- fingerprints ---- */

static void set(struct fields *f, const char *name, const char *value)
{
	struct err e;
	CHECK(fields_set(f, name, value, strlen(value), &e));
}

/* A data key wrapped for known keys, by hand: the form that homes have on disk. */
static void wrap_by_hand(void)
{
	static const char label[] = "rotor data key";
	unsigned char two[64], ad[32], data[32] = { 7 };
	crypto_generichash_state h;
	for (size_t i = 0; i < sizeof two; i++)
		two[i] = (unsigned char)i;
	put("kek", HEX_00_1F "\n", 65, 0600);
	put("log.fp", HEX_00_1F "\n", 65, 0600);
	put("find.fp", HEX_20_3F "\n", 65, 0600);
	crypto_generichash_init(&h, NULL, 0, sizeof ad);
	crypto_generichash_update(&h, (const unsigned char *)label, sizeof label);
	crypto_generichash_update(&h, two, sizeof two);
	crypto_generichash_final(&h, ad, sizeof ad);
	wrapped[0] = 1;
	memset(wrapped + 1, 9, 24);
	crypto_aead_xchacha20poly1305_ietf_encrypt(wrapped + 25, NULL, data, sizeof data, ad, sizeof ad, NULL,
	                                           wrapped + 1, two);
}

static void test_fingerprints(void)
{
	char fp[SEAL_FP_TEXT], twin[SEAL_FP_TEXT], hex[2 * SEAL_FIND_BYTES + 1];
	unsigned char found[SEAL_FIND_BYTES];
	AUTO_FIELDS *one = fields_new();
	AUTO_FIELDS *many = fields_new();
	AUTO_FIELDS *turned = fields_new();
	TEST("a data key that another wrapped for these keys opens");
	wrap_by_hand();
	struct seal *s = open_seal();
	TEST("the fingerprints that another BLAKE2b and JSON writer make");
	set(one, "password", "correct horse");
	seal_fingerprint(s, "prod/orders-db", one, fp);
	CHECK_STR(fp, "k1:4f7bcf209c065942deb36d3d7d22521f");
	set(many, "username", "orders_a");
	set(many, "password", "p\"a\\s\n\t\x01\x1f\xc3\xa9/");
	set(many, "url", "");
	seal_fingerprint(s, "prod/orders-db", many, fp);
	CHECK_STR(fp, "k1:9b953ba602e9dd06037438e8a2055c2d");
	seal_find(s, "correct horse", 13, found);
	CHECK_STR(sodium_bin2hex(hex, sizeof hex, found, sizeof found), "30342dc36e167da602dce80c83bd8afd");
	TEST("the order in which fields were set does not matter, all else does");
	set(turned, "url", "");
	set(turned, "password", "p\"a\\s\n\t\x01\x1f\xc3\xa9/");
	set(turned, "username", "orders_a");
	seal_fingerprint(s, "prod/orders-db", turned, twin);
	CHECK_STR(twin, fp);
	seal_fingerprint(s, "prod/orders-dc", turned, twin);
	CHECK(strcmp(twin, fp) != 0);
	set(turned, "username", "orders_b");
	seal_fingerprint(s, "prod/orders-db", turned, twin);
	CHECK(strcmp(twin, fp) != 0);
	seal_free(s);
}

int main(void)
{
	struct err e = { 0 };
	if (!arena_init(&e) || !mkdtemp(dir)) {
		printf("Bail out! %s\n", e.message);
		return 1;
	}
	snprintf(keys, sizeof keys, "%s/keys", dir);
	if (mkdir(keys, 0700) != 0)
		return 1;
	test_create();
	test_open_checks();
	test_wrong_key();
	test_values();
	test_other_home();
	test_sizes();
	test_fingerprints();
	unlink(file("kek"));
	unlink(file("log.fp"));
	unlink(file("find.fp"));
	rmdir(keys);
	rmdir(dir);
	return TEST_END();
}
