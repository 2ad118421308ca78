#include "core/tlog.h"

#include <sodium.h>
#include <stdlib.h>

#include "tests/unit/test.h"

#define SIZES 300
#define PROOF_SIZES 70

static struct tlog_hash leaves[SIZES];

static struct tlog_hash from_hex(const char *hex)
{
	struct tlog_hash h = { 0 };
	size_t got = 0;
	CHECK(sodium_hex2bin(h.b, sizeof h.b, hex, strlen(hex), NULL, &got, NULL) == 0 && got == sizeof h.b);
	return h;
}

static bool same(const struct tlog_hash *a, const struct tlog_hash *b)
{
	return memcmp(a, b, sizeof *a) == 0;
}

/* RFC 6962 section 2.1, word by word. */
static struct tlog_hash mth(size_t from, size_t n)
{
	struct tlog_hash h;
	if (n == 0) {
		crypto_hash_sha256(h.b, NULL, 0);
		return h;
	}
	if (n == 1)
		return leaves[from];
	size_t k = 1;
	while (2 * k < n)
		k *= 2;
	struct tlog_hash l = mth(from, k), r = mth(from + k, n - k);
	tlog_node(&l, &r, &h);
	return h;
}

static size_t subtree_limit;

static bool subtree(void *arg, unsigned level, uint64_t index, struct tlog_hash *ret, struct err *e)
{
	int *calls = arg;
	uint64_t count = (uint64_t)1 << level, from = index << level;
	if (*calls == 0)
		return err_set(e, ERR_TEMPORARY, "no more");
	--*calls;
	CHECK(from + count <= subtree_limit);
	*ret = mth((size_t)from, (size_t)count);
	return true;
}

static size_t prove(uint64_t index, uint64_t size, struct tlog_hash ret[TLOG_LEVELS])
{
	size_t n = 99;
	int calls = -1;
	struct err e;
	subtree_limit = (size_t)size;
	CHECK(tlog_prove(subtree, &calls, index, size, ret, &n, &e));
	return n;
}

static size_t prove_consistency(uint64_t old, uint64_t size, struct tlog_hash ret[TLOG_LEVELS])
{
	size_t n = 99;
	int calls = -1;
	struct err e;
	subtree_limit = (size_t)size;
	CHECK(tlog_prove_consistency(subtree, &calls, old, size, ret, &n, &e));
	return n;
}

/* ---- the tree ---- */

static void test_vectors(void)
{
	static const char *const data[] = {
		"", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"
	};
	struct tlog_frontier f = { 0 };
	struct tlog_hash root, want;
	TEST("the known roots");
	tlog_root(&f, &root);
	want = from_hex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	CHECK(same(&root, &want));
	for (size_t i = 0; i < 8; i++) {
		unsigned char bytes[16];
		size_t len = 0;
		struct tlog_hash leaf;
		CHECK(sodium_hex2bin(bytes, sizeof bytes, data[i], strlen(data[i]), NULL, &len, NULL) == 0);
		tlog_leaf(bytes, len, &leaf);
		tlog_append(&f, &leaf);
		tlog_root(&f, &root);
		if (i == 0)
			want = from_hex("6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
		else if (i == 6)
			want = from_hex("ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c");
		else if (i == 7)
			want = from_hex("5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328");
		else
			continue;
		CHECK(same(&root, &want));
	}
}

/* Lengths around the ends of blocks and of what is hashed in one piece. */
static void test_bulk(void)
{
	static const size_t lens[] = { 0,   1,   54,  55,   56,   62,   63,   64,
		                       118, 119, 300, 4094, 4095, 4096, 4097, TLOG_LEAF_MAX };
	struct tlog_hash before[16], after, node;
	unsigned char *bytes = malloc(TLOG_LEAF_MAX);
	for (size_t i = 0; i < TLOG_LEAF_MAX; i++)
		bytes[i] = (unsigned char)(i * 7 + i / 251);
	for (size_t i = 0; i < 16; i++)
		tlog_leaf(bytes, lens[i], &before[i]);
	tlog_node(&before[0], &before[1], &node);
	TEST("a leaf is hashed with a zero byte before it, whatever its length");
	for (size_t i = 0; i < 16; i++) {
		crypto_hash_sha256_state s;
		crypto_hash_sha256_init(&s);
		crypto_hash_sha256_update(&s, (const unsigned char *)"", 1);
		crypto_hash_sha256_update(&s, bytes, lens[i]);
		crypto_hash_sha256_final(&s, after.b);
		CHECK(same(&before[i], &after));
	}
	TEST(tlog_bulk() ? "OpenSSL gives the same hashes" : "there is no OpenSSL here, and nothing changes");
	for (size_t i = 0; i < 16; i++) {
		tlog_leaf(bytes, lens[i], &after);
		CHECK(same(&before[i], &after));
	}
	tlog_node(&before[0], &before[1], &after);
	CHECK(same(&node, &after));
	free(bytes);
}

static void test_frontier(void)
{
	TEST("the frontier folds to the recursive root");
	struct tlog_frontier f = { 0 };
	for (size_t n = 0; n <= SIZES; n++) {
		struct tlog_hash root, want = mth(0, n);
		tlog_root(&f, &root);
		CHECK(same(&root, &want));
		CHECK(f.size == n && f.n == (size_t)__builtin_popcountll(n));
		if (n < SIZES)
			tlog_append(&f, &leaves[n]);
	}
}

/* ---- proofs ---- */

typedef bool checker(const void *arg, const struct tlog_hash proof[], size_t n);

/* A proof that verifies must not when one bit of it differs, or a hash is missing or added anywhere. */
static void damage(checker *check, const void *arg, struct tlog_hash proof[TLOG_LEVELS], size_t n, bool every_bit)
{
	struct tlog_hash other[TLOG_LEVELS + 1];
	for (size_t bit = 0; bit < n * 256; bit += every_bit ? 1 : 37) {
		proof[bit / 256].b[bit % 256 / 8] ^= (unsigned char)(1 << bit % 8);
		CHECK(!check(arg, proof, n));
		proof[bit / 256].b[bit % 256 / 8] ^= (unsigned char)(1 << bit % 8);
	}
	for (size_t gap = 0; gap < n; gap++) {
		memcpy(other, proof, gap * sizeof *other);
		memcpy(other + gap, proof + gap + 1, (n - 1 - gap) * sizeof *other);
		CHECK(!check(arg, other, n - 1));
	}
	for (size_t gap = 0; gap <= n; gap++) {
		memcpy(other, proof, gap * sizeof *other);
		other[gap] = leaves[0];
		memcpy(other + gap + 1, proof + gap, (n - gap) * sizeof *other);
		CHECK(!check(arg, other, n + 1));
	}
}

struct inclusion {
	struct tlog_hash leaf, root;
	uint64_t index, size;
};

static bool check_inclusion(const void *arg, const struct tlog_hash proof[], size_t n)
{
	const struct inclusion *c = arg;
	return tlog_check(&c->leaf, c->index, c->size, &c->root, proof, n);
}

static void test_inclusion(void)
{
	struct tlog_hash proof[TLOG_LEVELS];
	TEST("every inclusion proof verifies, and nothing else does");
	for (uint64_t size = 1; size <= PROOF_SIZES; size++) {
		struct tlog_hash root = mth(0, (size_t)size);
		for (uint64_t index = 0; index < size; index++) {
			struct inclusion c = { leaves[index], root, index, size };
			size_t n = prove(index, size, proof);
			CHECK(check_inclusion(&c, proof, n));
			damage(check_inclusion, &c, proof, n, size <= 9);
			for (uint64_t other = 0; other <= size; other++)
				CHECK(tlog_check(&leaves[index], other, size, &root, proof, n) == (other == index));
			struct tlog_hash wrong = root;
			wrong.b[31] ^= 1;
			CHECK(!tlog_check(&leaves[index], index, size, &wrong, proof, n));
			CHECK(!tlog_check(&leaves[(index + 1) % SIZES], index, size, &root, proof, n));
		}
	}
	CHECK(!tlog_check(&leaves[0], 0, 0, &leaves[0], NULL, 0));
}

struct consistency {
	struct tlog_hash old_root, root;
	uint64_t old, size;
};

static bool check_consistency(const void *arg, const struct tlog_hash proof[], size_t n)
{
	const struct consistency *c = arg;
	return tlog_check_consistency(c->old, &c->old_root, c->size, &c->root, proof, n);
}

static void test_consistency(void)
{
	struct tlog_hash proof[TLOG_LEVELS];
	TEST("every consistency proof verifies, and nothing else does");
	for (uint64_t size = 0; size <= PROOF_SIZES; size++)
		for (uint64_t old = 0; old <= size; old++) {
			struct consistency c = { mth(0, (size_t)old), mth(0, (size_t)size), old, size };
			size_t n = prove_consistency(old, size, proof);
			CHECK(check_consistency(&c, proof, n));
			damage(check_consistency, &c, proof, n, size <= 9);
			for (c.old = 0; c.old <= size + 1; c.old++)
				CHECK(check_consistency(&c, proof, n) == (c.old == old));
			c.old = old;
			c.old_root.b[0] ^= 0x80;
			CHECK(!check_consistency(&c, proof, n));
			c.old_root.b[0] ^= 0x80;
			c.root.b[0] ^= 0x80;
			/* every root follows the empty tree, except another one of the empty tree */
			CHECK(check_consistency(&c, proof, n) == (old == 0 && size != 0));
		}
}

static void test_prove_refuses(void)
{
	struct tlog_hash proof[TLOG_LEVELS];
	size_t n = 99;
	int calls = -1;
	struct err e;
	TEST("proofs of what is not there are refused");
	CHECK(!tlog_prove(subtree, &calls, 5, 5, proof, &n, &e) && e.code == ERR_FAILED);
	CHECK_STR(e.message, "record 5 is not in a log of 5");
	CHECK(!tlog_prove(subtree, &calls, 0, 0, proof, &n, &e));
	CHECK(!tlog_prove(subtree, &calls, 0, UINT64_MAX, proof, &n, &e));
	CHECK(!tlog_prove_consistency(subtree, &calls, 6, 5, proof, &n, &e));
	CHECK(!tlog_prove_consistency(subtree, &calls, 1, UINT64_MAX, proof, &n, &e));
	TEST("a subtree that cannot be had is the proof's error");
	calls = 2;
	subtree_limit = 64;
	CHECK(!tlog_prove(subtree, &calls, 3, 64, proof, &n, &e) && e.code == ERR_TEMPORARY);
	calls = 1;
	CHECK(!tlog_prove_consistency(subtree, &calls, 5, 64, proof, &n, &e) && e.code == ERR_TEMPORARY);
	CHECK(n == 99);
}

static bool any_subtree(void *arg, unsigned level, uint64_t index, struct tlog_hash *ret, struct err *e)
{
	(void)arg;
	(void)e;
	unsigned char id[16] = { (unsigned char)level };
	memcpy(id + 8, &index, sizeof index);
	crypto_hash_sha256(ret->b, id, sizeof id);
	return true;
}

static void test_largest(void)
{
	struct tlog_hash proof[TLOG_LEVELS];
	size_t n;
	struct err e;
	TEST("proofs in the largest log fit");
	CHECK(tlog_prove(any_subtree, NULL, INT64_MAX - 1, INT64_MAX, proof, &n, &e) && n == 62);
	CHECK(tlog_prove(any_subtree, NULL, 0, INT64_MAX, proof, &n, &e) && n == 63);
	CHECK(tlog_prove_consistency(any_subtree, NULL, 3, INT64_MAX, proof, &n, &e) && n == TLOG_LEVELS);
}

/* ---- keys ---- */

static const char FOO_KEY[] = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
static const char FOO_TEXT[] = "This is an example message.\n";
static const char FOO_SIG[] =
	"\xe2\x80\x94 example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3m"
	"FXmRKuwHjG1Yu72IneyaQM=\n";

static struct tlog_vkey vkey(const char *text)
{
	struct tlog_vkey key = { 0 };
	struct err e;
	CHECK(tlog_vkey_parse(text, &key, &e));
	return key;
}

static void test_names(void)
{
	static const char *const bad[] = { "",
		                           "a b",
		                           "a+b",
		                           "a\tb",
		                           "a\nb",
		                           "a\x01",
		                           "\xc2\xa0",
		                           "a\xc2\x85",
		                           "\xe1\x9a\x80",
		                           "\xe2\x80\x80",
		                           "x\xe2\x80\x8a",
		                           "\xe2\x80\xa8",
		                           "\xe2\x80\xa9",
		                           "\xe2\x80\xaf",
		                           "\xe2\x81\x9f",
		                           "\xe3\x80\x80",
		                           "\xff",
		                           "\xc0\xa0",
		                           "a\xe2\x80" };
	static const char *const good[] = {
		"a",        "rotor.example/audit", "\xc3\xa9t\xc3\xa9", "\xe2\x80\x8b", "\xe2\x80\x94", "\xe3\x80\x81",
		"\xc2\xa1", "\xf0\x9f\x94\x91"
	};
	char name[TLOG_NAME_MAX + 2];
	TEST("names");
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		CHECK(!tlog_name_ok(bad[i]));
	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		CHECK(tlog_name_ok(good[i]));
	memset(name, 'a', sizeof name);
	name[TLOG_NAME_MAX + 1] = '\0';
	CHECK(!tlog_name_ok(name));
	name[TLOG_NAME_MAX] = '\0';
	CHECK(tlog_name_ok(name));
}

static void test_vkey(void)
{
	struct err e;
	struct tlog_vkey key = vkey(FOO_KEY), untouched = { .id = 7 };
	AUTO_BUF text = BUF_INIT(1000);
	TEST("a verifier key is read and written");
	CHECK_STR(key.name, "example.com/foo");
	CHECK(key.id == 0x530d903a);
	tlog_vkey_text(&key, &text);
	CHECK_STR(text.data, FOO_KEY);
	/* the base64 of this one holds a '+' itself */
	key = vkey("rotor.example/audit+c898905e+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4");
	CHECK(key.id == 0xc898905e);
	static const char *const bad[] = {
		"",
		"+",
		"++",
		"example.com/foo",
		"example.com/foo+530d903a",
		"example.com/foo+530d903a+",
		"+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
		"example.com foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
		"example.com/bar+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
		"example.com/foo+530D903A+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
		"example.com/foo+0530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
		"example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
		"example.com/foo+530d903a+AukyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
		"example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2",
		"example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2kAA==",
		"example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k\n",
		"example.com/foo+530d903a+ AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
		/* its '/' as a byte that libsodium takes for one */
		"rotor.example/audit+c898905e+AQOhB7\x80zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4",
		"rotor.example/audit+c898905e+AQOhB7\xffzzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4",
	};
	TEST("what is not quite a verifier key is refused");
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		CHECK(!tlog_vkey_parse(bad[i], &untouched, &e) && e.code == ERR_USAGE);
		CHECK(untouched.id == 7);
	}
}

static void sign_with_seed(const char *name, const unsigned char seed[32], const char *text, const char *want_key,
                           const char *want)
{
	unsigned char pk[32], sk[64];
	struct tlog_vkey key;
	AUTO_BUF key_text = BUF_INIT(1000);
	AUTO_BUF line = BUF_INIT(1000);
	crypto_sign_seed_keypair(pk, sk, seed);
	tlog_vkey_make(name, pk, &key);
	tlog_vkey_text(&key, &key_text);
	CHECK_STR(key_text.data, want_key);
	tlog_sign(&key, sk, text, strlen(text), &line);
	CHECK_STR(line.data, want);
}

static void test_sign(void)
{
	unsigned char seed[33];
	char key[256];
	size_t got = 0;
	TEST("the signatures of known keys");
	struct tlog_checkpoint c = { .origin = "rotor.example/audit" };
	AUTO_BUF text = BUF_INIT(1000);
	tlog_root(&(struct tlog_frontier){ 0 }, &c.root);
	tlog_checkpoint_text(&c, &text);
	CHECK_STR(text.data, "rotor.example/audit\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n");
	for (unsigned i = 0; i < 32; i++)
		seed[i] = (unsigned char)i;
	sign_with_seed("rotor.example/audit", seed, text.data,
	               "rotor.example/audit+c898905e+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4",
	               "\xe2\x80\x94 rotor.example/audit "
	               "yJiQXh2cVGozL6jj8dvM0PaFgyM3Y36wtZxv/1Woa/ds1zd0BXI9UC6vsf622LIAbvgO4KyCiP3mM"
	               "OdNndlnOy5/zwc=\n");
	CHECK(sodium_base642bin(seed, sizeof seed, "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz", 44, NULL, &got, NULL,
	                        sodium_base64_VARIANT_ORIGINAL) == 0 &&
	      got == 33 && seed[0] == 1);
	unsigned char pk[32], sk[64];
	struct tlog_vkey neumann;
	crypto_sign_seed_keypair(pk, sk, seed + 1);
	tlog_vkey_make("PeterNeumann", pk, &neumann);
	snprintf(key, sizeof key, "%s+%08x", neumann.name, neumann.id);
	CHECK_STR(key, "PeterNeumann+c74f20a3");
}

/* ---- notes ---- */

/* -1 refused, else the length of the text. */
static long open_note(const char *note, size_t len, const struct tlog_vkey *keys, size_t n, struct err *e)
{
	size_t text = 999999;
	/* an exact copy lets the sanitiser see a read behind the end */
	char *copy = malloc(len ? len : 1);
	memcpy(copy, note, len);
	bool ok = tlog_note_open(copy, len, keys, n, &text, e);
	free(copy);
	CHECK(ok || text == 999999);
	return ok ? (long)text : -1;
}

static void test_note(void)
{
	struct err e;
	char note[512];
	struct tlog_vkey keys[2] = { vkey("rotor.example/audit+c898905e+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"),
		                     vkey(FOO_KEY) };
	size_t len = (size_t)snprintf(note, sizeof note, "%s\n%s", FOO_TEXT, FOO_SIG);
	TEST("the known note verifies");
	CHECK(open_note(note, len, keys, 2, &e) == (long)strlen(FOO_TEXT));
	CHECK(open_note(note, len, keys + 1, 1, &e) == (long)strlen(FOO_TEXT));
	TEST("not without its key");
	CHECK(open_note(note, len, keys, 1, &e) == -1 && e.code == ERR_FAILED);
	CHECK_STR(e.message, "signed note has no signature of a known key");
	CHECK(open_note(note, len, NULL, 0, &e) == -1);
	TEST("nor under a name that only begins like the key's");
	char other[512];
	size_t other_len = (size_t)snprintf(other, sizeof other, "%s\n\xe2\x80\x94 example.com/f%s", FOO_TEXT,
	                                    strrchr(FOO_SIG, ' '));
	CHECK(open_note(other, other_len, keys, 2, &e) == -1);
	CHECK_STR(e.message, "signed note has no signature of a known key");
	TEST("not with any bit flipped, nor cut anywhere");
	for (size_t bit = 0; bit < len * 8; bit++) {
		note[bit / 8] ^= (char)(1 << bit % 8);
		CHECK(open_note(note, len, keys, 2, &e) == -1);
		note[bit / 8] ^= (char)(1 << bit % 8);
	}
	for (size_t cut = 0; cut < len; cut++)
		CHECK(open_note(note, cut, keys, 2, &e) == -1);
}

static void test_note_many(void)
{
	struct err e;
	struct tlog_vkey key = vkey(FOO_KEY);
	AUTO_BUF note = BUF_INIT(TLOG_NOTE_MAX);
	TEST("unknown signatures are ignored, large ones too");
	buf_printf(&note, "%s\n", FOO_TEXT);
	for (unsigned i = 0; i < 40; i++)
		buf_printf(&note, "\xe2\x80\x94 other%u AAAAAAAA\n", i);
	buf_str(&note, "\xe2\x80\x94 example.com/foo AAAAAAAA\n\xe2\x80\x94 large ");
	for (unsigned i = 0; i < 2000; i++)
		buf_str(&note, "AAAA");
	buf_printf(&note, "\n%s", FOO_SIG);
	CHECK(open_note(note.data, note.len, &key, 1, &e) == (long)strlen(FOO_TEXT));
	TEST("a known one that is not good refuses, before and behind a good one");
	size_t good = note.len;
	buf_str(&note, "\xe2\x80\x94 example.com/foo Uw2QOkn8\n");
	CHECK(open_note(note.data, note.len, &key, 1, &e) == -1);
	CHECK_STR(e.message, "signature of 'example.com/foo' on the note is not good");
	TEST("more than a hundred lines are refused");
	note.len = good;
	for (unsigned i = 0; i < 57; i++)
		buf_str(&note, "\xe2\x80\x94 more AAAAAAAA\n");
	CHECK(open_note(note.data, note.len, &key, 1, &e) == (long)strlen(FOO_TEXT));
	buf_str(&note, "\xe2\x80\x94 more AAAAAAAA\n");
	CHECK(open_note(note.data, note.len, &key, 1, &e) == -1);
	TEST("so is more than the ceiling");
	AUTO_BUF big = BUF_INIT(2 * TLOG_NOTE_MAX);
	while (big.len <= TLOG_NOTE_MAX)
		buf_str(&big, "text\n");
	buf_printf(&big, "\n%s", FOO_SIG);
	CHECK(open_note(big.data, big.len, &key, 1, &e) == -1);
}

static void test_note_malformed(void)
{
	static const char *const lines[] = {
		"",
		"\n",
		"x\n",
		"\xe2\x80\x94\n",
		"\xe2\x80\x94 \n",
		"\xe2\x80\x94 a\n",
		"\xe2\x80\x94 a \n",
		"\xe2\x80\x94  AAAAAAAA\n",
		"\xe2\x80\x94 a+b AAAAAAAA\n",
		"\xe2\x80\x94 a AAAAAAA\n",
		"\xe2\x80\x94 a AAAAAAAA \n",
		"\xe2\x80\x94 a AAAAAA==\n",
		"\xe2\x80\x94 a AAAAAAB=\n",
		"\xe2\x80\x94 a AAAAAA-_\n",
		"\xe2\x80\x94 a AAAA\xc2\xa9\x41\x41\n",
		"\xe2\x80\x94 a AAAAAAAA\r\n",
		"- a AAAAAAAA\n",
		"\xe2\x80\x94 a\tAAAAAAAA\n",
	};
	struct err e;
	struct tlog_vkey key = vkey(FOO_KEY);
	char note[512];
	TEST("a malformed line refuses the note, the good signature notwithstanding");
	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
		snprintf(note, sizeof note, "%s\n%s%s", FOO_TEXT, FOO_SIG, lines[i]);
		CHECK((open_note(note, strlen(note), &key, 1, &e) == -1) == (i > 0));
	}
	TEST("the text is split at the last blank line");
	unsigned char seed[32] = { 9 }, pk[32], sk[64];
	struct tlog_vkey mine;
	const char text[] = "a\n\n\xe2\x80\x94 x AAAAAAAA\n";
	AUTO_BUF signed_text = BUF_INIT(1000);
	crypto_sign_seed_keypair(pk, sk, seed);
	tlog_vkey_make("mine", pk, &mine);
	buf_printf(&signed_text, "%s\n", text);
	tlog_sign(&mine, sk, text, strlen(text), &signed_text);
	CHECK(open_note(signed_text.data, signed_text.len, &mine, 1, &e) == (long)strlen(text));
	TEST("control bytes and broken UTF-8 in the text are refused, though signed");
	static const char *const texts[] = { "ok\n", "a\tb\n", "a\r\n", "\x01\n", "\xff\n" };
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		buf_reset(&signed_text);
		buf_printf(&signed_text, "%s\n", texts[i]);
		tlog_sign(&mine, sk, texts[i], strlen(texts[i]), &signed_text);
		CHECK((open_note(signed_text.data, signed_text.len, &mine, 1, &e) == -1) == (i > 0));
	}
}

/* ---- checkpoints and tiles ---- */

#define ROOT "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"

static void test_checkpoint(void)
{
	static const char *const bad[] = {
		"",
		"\n",
		"o\n",
		"o\n5\n",
		"o\n5\n" ROOT "\n",
		"o\n5\n" ROOT "extension\n",
		"o\n5\n" ROOT "x",
		"\n5\n" ROOT,
		"o o\n5\n" ROOT,
		"o+o\n5\n" ROOT,
		"o\n05\n" ROOT,
		"o\n\n" ROOT,
		"o\n-5\n" ROOT,
		"o\n+5\n" ROOT,
		"o\n 5\n" ROOT,
		"o\n5 \n" ROOT,
		"o\n0x5\n" ROOT,
		"o\n9223372036854775808\n" ROOT,
		"o\n99999999999999999999\n" ROOT,
		"o\n18446744073709551621\n" ROOT,
		"o\n5\n \n",
		"o\n5\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU\n",
		"o\n5\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFV=\n",
		"o\n5\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuA==\n",
		"o\n5\n47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU=\n",
		"o\n5\n47DEQpj8HBSa+\xaaTImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n",
		"o\n5\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFUA\n",
		"o\r\n5\r\n" ROOT,
		"o\n5\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
	};
	struct tlog_checkpoint c = { .size = 77 };
	struct err e;
	TEST("what is not quite a checkpoint is refused");
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		CHECK(!tlog_checkpoint_parse(bad[i], strlen(bad[i]), &c, &e) && e.code == ERR_FAILED);
		CHECK(c.size == 77);
	}
	TEST("a checkpoint is read as it was written");
	static const uint64_t sizes[] = { 0, 1, 10, 1000000, INT64_MAX };
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		struct tlog_checkpoint from = { "rotor.example/audit", sizes[i], leaves[i] };
		AUTO_BUF text = BUF_INIT(1000);
		tlog_checkpoint_text(&from, &text);
		CHECK(tlog_checkpoint_parse(text.data, text.len, &c, &e));
		CHECK_STR(c.origin, from.origin);
		CHECK(c.size == from.size && same(&c.root, &from.root));
	}
}

static void test_tiles(void)
{
	static const struct {
		int level;
		uint64_t index;
		unsigned width;
		const char *want;
	} t[] = {
		{ 0, 0, 256, "tile/0/000" },
		{ 0, 0, 1, "tile/0/000.p/1" },
		{ 1, 999, 255, "tile/1/999.p/255" },
		{ 2, 1000, 256, "tile/2/x001/000" },
		{ 0, 1234067, 256, "tile/0/x001/x234/067" },
		{ 0, 1234067, 8, "tile/0/x001/x234/067.p/8" },
		{ -1, 1234067, 256, "tile/entries/x001/x234/067" },
		{ -1, 5, 17, "tile/entries/005.p/17" },
		{ 63, UINT64_MAX, 255, "tile/63/x018/x446/x744/x073/x709/x551/615.p/255" },
	};
	TEST("names of tiles");
	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		char path[96];
		tlog_tile_path(t[i].level, t[i].index, t[i].width, path);
		CHECK_STR(path, t[i].want);
	}
}

int main(void)
{
	if (sodium_init() < 0)
		return 1;
	for (size_t i = 0; i < SIZES; i++)
		tlog_leaf(&i, sizeof i, &leaves[i]);
	test_vectors();
	test_frontier();
	test_inclusion();
	test_consistency();
	test_prove_refuses();
	test_largest();
	test_names();
	test_vkey();
	test_sign();
	test_note();
	test_note_many();
	test_note_malformed();
	test_checkpoint();
	test_tiles();
	test_bulk(); /* last: all above is hashed by libsodium */
	return TEST_END();
}
