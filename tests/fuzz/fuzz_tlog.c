/* Verifier keys, signed notes and checkpoints. The input is read as each of them; as a note's text it is signed, too.
 */
#include "tests/fuzz/fuzz.h"

#include <sodium.h>
#include <string.h>

#include "core/mem.h"
#include "core/tlog.h"

static struct tlog_vkey key;
static unsigned char sk[crypto_sign_SECRETKEYBYTES];

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	/* the same in every run: the corpus holds notes with good signatures by it */
	unsigned char seed[crypto_sign_SEEDBYTES], pk[crypto_sign_PUBLICKEYBYTES];
	(void)argc;
	(void)argv;
	MUST(sodium_init() >= 0);
	memset(seed, 7, sizeof seed);
	crypto_sign_seed_keypair(pk, sk, seed);
	tlog_vkey_make("fuzz.example/log", pk, &key);
	return 0;
}

static void vkey(const char *text)
{
	struct tlog_vkey got, again;
	struct err e = { 0 };
	if (!tlog_vkey_parse(text, &got, &e)) {
		MUST(e.code == ERR_USAGE && e.message[0]);
		return;
	}
	MUST(tlog_name_ok(got.name));
	AUTO_BUF written = BUF_INIT(1024);
	tlog_vkey_text(&got, &written);
	MUST(strcmp(written.data, text) == 0);
	MUST(tlog_vkey_parse(written.data, &again, &e) && memcmp(&again, &got, sizeof got) == 0);
}

static void checkpoint(const char *text, size_t len)
{
	struct tlog_checkpoint got;
	struct err e = { 0 };
	if (!tlog_checkpoint_parse(text, len, &got, &e)) {
		MUST(e.code == ERR_FAILED && e.message[0]);
		return;
	}
	MUST(got.origin[0] && strlen(got.origin) <= TLOG_NAME_MAX);
	/* lines behind the third are extensions, which rotor does not keep */
	AUTO_BUF written = BUF_INIT(1024);
	tlog_checkpoint_text(&got, &written);
	MUST(!written.over && written.len <= len && memcmp(written.data, text, written.len) == 0);
}

static void note(const char *text, size_t len)
{
	struct err e = { 0 };
	size_t text_len = 0;
	if (tlog_note_open(text, len, &key, 1, &text_len, &e)) {
		MUST(text_len > 0 && text_len < len && text[text_len - 1] == '\n' && text[text_len] == '\n');
		/* Ed25519 signs the same text the same way each time, and base64 has one form: no other line is good */
		AUTO_BUF line = BUF_INIT(1024);
		tlog_sign(&key, sk, text, text_len, &line);
		MUST(memmem(text + text_len, len - text_len, line.data, line.len));
	} else {
		MUST(e.code == ERR_FAILED && e.message[0]);
	}
	MUST(!tlog_note_open(text, len, NULL, 0, &text_len, &e));
}

static void signed_note(const char *text, size_t len)
{
	struct err e = { 0 };
	size_t text_len = 0;
	AUTO_BUF made = BUF_INIT(TLOG_NOTE_MAX);
	buf_add(&made, text, len);
	buf_str(&made, "\n");
	tlog_sign(&key, sk, text, len, &made);
	if (made.over || !tlog_note_open(made.data, made.len, &key, 1, &text_len, &e))
		return;
	MUST(text_len == len);
	made.data[len / 2] ^= 1;
	MUST(!tlog_note_open(made.data, made.len, &key, 1, &text_len, &e));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* exactly so many bytes, so that reading one too many is seen; the key alone is a string */
	AUTO_FREE char *bytes = size ? mem_array(size, 1) : NULL, *text = mem_dupn((const char *)data, size);
	if (!size)
		return 0;
	memcpy(bytes, data, size);
	vkey(text);
	checkpoint(bytes, size);
	note(bytes, size);
	signed_note(bytes, size);
	return 0;
}
