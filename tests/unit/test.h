/* The smallest test harness: each CHECK counts, TEST names what follows; the program prints TAP. */
#ifndef TESTS_UNIT_TEST_H
#define TESTS_UNIT_TEST_H

#include <stdio.h>
#include <string.h>

static int test_count_, test_failed_, test_bad_;
static const char *test_name_;

static inline void test_flush_(void)
{
	if (!test_name_)
		return;
	printf("%sok %d - %s\n", test_bad_ ? "not " : "", ++test_count_, test_name_);
	test_failed_ += test_bad_ ? 1 : 0;
	test_name_ = NULL;
	test_bad_ = 0;
}

#define TEST(name) (test_flush_(), test_name_ = (name))
#define CHECK(cond)                                                                                                    \
	do {                                                                                                           \
		if (!(cond)) {                                                                                         \
			test_bad_ = 1;                                                                                 \
			printf("# %s:%d: %s\n", __FILE__, __LINE__, #cond);                                            \
		}                                                                                                      \
	} while (0)
#define CHECK_STR(got, want)                                                                                           \
	do {                                                                                                           \
		const char *got_ = (got), *want_ = (want);                                                             \
		if (!got_ || strcmp(got_, want_) != 0) {                                                               \
			test_bad_ = 1;                                                                                 \
			printf("# %s:%d: got '%s', want '%s'\n", __FILE__, __LINE__, got_ ? got_ : "(null)", want_);   \
		}                                                                                                      \
	} while (0)
/* The last line of main: `return TEST_END();` */
#define TEST_END() (test_flush_(), printf("1..%d\n", test_count_), test_failed_ ? 1 : 0)

#endif
