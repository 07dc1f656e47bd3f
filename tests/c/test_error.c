/* Names of result codes, and the version. */
#include "check.h"
#include "meinheld.h"

static void every_code_has_a_name_of_its_own(void) {
    const char *unknown = mh_strerror(-1);
    REQUIRE(unknown);
    CHECK(strcmp(mh_strerror(-1014), unknown) == 0);
    for (int a = MH_EAGAIN; a >= MH_ERANGE; a--) {
        const char *name = mh_strerror(a);
        REQUIRE(name);
        CHECK(name[0] != '\0' && strcmp(name, unknown) != 0);
        for (int b = MH_EAGAIN; b > a; b--)
            CHECK(strcmp(name, mh_strerror(b)) != 0);
    }
    CHECK(strcmp(mh_strerror(MH_OK), unknown) != 0);
    CHECK(strcmp(mh_strerror(MH_FULL), mh_strerror(MH_OK)) != 0);
}

static void the_library_has_the_version_of_its_header(void) {
    char want[64];
    snprintf(want, sizeof want, "%d.%d.%d", MH_VERSION_MAJOR, MH_VERSION_MINOR, MH_VERSION_PATCH);
    CHECK(strcmp(mh_version(), MH_VERSION) == 0);
    CHECK_MEM(mh_version(), strlen(mh_version()), want);
}

int main(void) {
    RUN(every_code_has_a_name_of_its_own);
    RUN(the_library_has_the_version_of_its_header);
    return check_end();
}
