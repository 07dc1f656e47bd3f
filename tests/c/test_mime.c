/* mime.h: what files are by their names. */
#include "mime.h"

#include "check.h"
#include "wire.h"

static void check_type(const char *name, const char *want, bool packs) {
    size_t n = strlen(name);
    char *copy = wire_copy(name, n);
    mh__mime got = mh__mime_of(copy, n);
    free(copy);
    if (!wire_same(got.type.p, got.type.n, want) || got.packs != packs)
        CHECK_FAIL_("%s is %.*s", name, (int)got.type.n, got.type.p);
}

static void what_the_web_is_made_of_is_known(void) {
    check_type("index.html", "text/html; charset=utf-8", true);
    check_type("a.css", "text/css; charset=utf-8", true);
    check_type("a.js", "text/javascript; charset=utf-8", true);
    check_type("a.mjs", "text/javascript; charset=utf-8", true);
    check_type("a.json", "application/json", true);
    check_type("a.svg", "image/svg+xml", true);
    check_type("a.wasm", "application/wasm", true);
    check_type("a.png", "image/png", false);
    check_type("a.jpg", "image/jpeg", false);
    check_type("a.webp", "image/webp", false);
    check_type("a.woff2", "font/woff2", false);
    check_type("a.ico", "image/vnd.microsoft.icon", true);
    check_type("a.txt", "text/plain; charset=utf-8", true);
    check_type("a.pdf", "application/pdf", false);
    check_type("a.mp4", "video/mp4", false);
    check_type("a.zip", "application/zip", false);
    check_type("a.webmanifest", "application/manifest+json", true);
}

/* The search by halves needs a sorted table. */
static void every_row_of_the_table_is_found(void) {
    static const char all[] =
        "7z aac apk apng appcache asc atom avi avif bmp bz2 c cjs conf crt css csv deb "
        "dmg doc docx eot eps epub flac geojson gif glb gltf gz h heic heif htm html ico "
        "ics jar jpeg jpg js json jsonld jxl log m3u8 m4a m4v map markdown md mid midi "
        "mjs mka mkv mov mp3 mp4 mpd mpeg mpg odp ods odt oga ogg ogv opus otf pdf pem "
        "png ppt pptx ps py rar rss rst rtf sh sql svg tar tif tiff toml ts tsv ttc ttf "
        "txt vcf vtt wasm wav weba webm webmanifest webp whl woff woff2 xht xhtml xls "
        "xlsx xml xsl xslt xz yaml yml zip zst ";
    for (const char *p = all; *p; p += strcspn(p, " ") + 1) {
        char name[32];
        int n = snprintf(name, sizeof name, "a.%.*s", (int)strcspn(p, " "), p);
        mh__mime got = mh__mime_of(name, (size_t)n);
        if (wire_same(got.type.p, got.type.n, "application/octet-stream"))
            CHECK_FAIL_("not found: %s", name);
    }
}

static void the_last_dot_counts_in_any_case(void) {
    check_type("a.tar.gz", "application/gzip", false);
    check_type("dir.d/A.HTML", "text/html; charset=utf-8", true);
    check_type("a.html.png", "image/png", false);
}

static void all_others_are_bytes(void) {
    static const char *const names[] = {
        "",       "a", "a.",   "README",   "a.unknown",     "a.htmlx",
        "a.htm/", ".", "html", "a.ht\xe9", "a.webmanifestx"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        check_type(names[i], "application/octet-stream", false);
}

int main(void) {
    RUN(what_the_web_is_made_of_is_known);
    RUN(every_row_of_the_table_is_found);
    RUN(the_last_dot_counts_in_any_case);
    RUN(all_others_are_bytes);
    return check_end();
}
