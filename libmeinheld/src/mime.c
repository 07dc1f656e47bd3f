/* A sorted table of extensions, searched by halves. The types are those of the IANA registry, and
 * where it has none, what others use; JavaScript's by RFC 9239. */
#include "mime.h"

#include <string.h>

enum { EXTENSION_MOST = 11 }; /* "webmanifest" */

typedef struct row {
    const char *extension; /* small letters */
    mh__mime mime;
} row;

#define ROW(extension, type, packs)                    \
    {                                                  \
        extension, { {type, sizeof(type) - 1}, packs } \
    }
#define TEXT(extension, type)  ROW(extension, type "; charset=utf-8", true)
#define PACKS(extension, type) ROW(extension, type, true)
#define PLAIN(extension, type) ROW(extension, type, false)

static const row rows[] = {
    /* clang-format off */
    PLAIN("7z", "application/x-7z-compressed"),
    PLAIN("aac", "audio/aac"),
    PLAIN("apk", "application/vnd.android.package-archive"),
    PLAIN("apng", "image/apng"),
    TEXT("appcache", "text/cache-manifest"),
    TEXT("asc", "text/plain"),
    PACKS("atom", "application/atom+xml"),
    PLAIN("avi", "video/x-msvideo"),
    PLAIN("avif", "image/avif"),
    PLAIN("bin", "application/octet-stream"),
    PACKS("bmp", "image/bmp"),
    PLAIN("br", "application/octet-stream"),
    PLAIN("bz2", "application/x-bzip2"),
    TEXT("c", "text/plain"),
    TEXT("cjs", "text/javascript"),
    TEXT("conf", "text/plain"),
    PACKS("crt", "application/x-x509-ca-cert"),
    TEXT("css", "text/css"),
    TEXT("csv", "text/csv"),
    PLAIN("deb", "application/vnd.debian.binary-package"),
    PLAIN("dmg", "application/x-apple-diskimage"),
    PACKS("doc", "application/msword"),
    PLAIN("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    PACKS("eot", "application/vnd.ms-fontobject"),
    PACKS("eps", "application/postscript"),
    PLAIN("epub", "application/epub+zip"),
    PLAIN("flac", "audio/flac"),
    PACKS("geojson", "application/geo+json"),
    PLAIN("gif", "image/gif"),
    PACKS("glb", "model/gltf-binary"),
    PACKS("gltf", "model/gltf+json"),
    PLAIN("gz", "application/gzip"),
    TEXT("h", "text/plain"),
    PLAIN("heic", "image/heic"),
    PLAIN("heif", "image/heif"),
    TEXT("htm", "text/html"),
    TEXT("html", "text/html"),
    PACKS("ico", "image/vnd.microsoft.icon"),
    TEXT("ics", "text/calendar"),
    PLAIN("jar", "application/java-archive"),
    PLAIN("jpeg", "image/jpeg"),
    PLAIN("jpg", "image/jpeg"),
    TEXT("js", "text/javascript"),
    PACKS("json", "application/json"),
    PACKS("jsonld", "application/ld+json"),
    PLAIN("jxl", "image/jxl"),
    TEXT("log", "text/plain"),
    PACKS("m3u8", "application/vnd.apple.mpegurl"),
    PLAIN("m4a", "audio/mp4"),
    PLAIN("m4v", "video/mp4"),
    PACKS("map", "application/json"),
    TEXT("markdown", "text/markdown"),
    TEXT("md", "text/markdown"),
    PACKS("mid", "audio/midi"),
    PACKS("midi", "audio/midi"),
    TEXT("mjs", "text/javascript"),
    PLAIN("mka", "audio/matroska"),
    PLAIN("mkv", "video/matroska"),
    PLAIN("mov", "video/quicktime"),
    PLAIN("mp3", "audio/mpeg"),
    PLAIN("mp4", "video/mp4"),
    PACKS("mpd", "application/dash+xml"),
    PLAIN("mpeg", "video/mpeg"),
    PLAIN("mpg", "video/mpeg"),
    PLAIN("odp", "application/vnd.oasis.opendocument.presentation"),
    PLAIN("ods", "application/vnd.oasis.opendocument.spreadsheet"),
    PLAIN("odt", "application/vnd.oasis.opendocument.text"),
    PLAIN("oga", "audio/ogg"),
    PLAIN("ogg", "audio/ogg"),
    PLAIN("ogv", "video/ogg"),
    PLAIN("opus", "audio/ogg"),
    PACKS("otf", "font/otf"),
    PLAIN("pdf", "application/pdf"),
    PACKS("pem", "application/x-pem-file"),
    PLAIN("png", "image/png"),
    PACKS("ppt", "application/vnd.ms-powerpoint"),
    PLAIN("pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    PACKS("ps", "application/postscript"),
    TEXT("py", "text/x-python"),
    PLAIN("rar", "application/vnd.rar"),
    PACKS("rss", "application/rss+xml"),
    TEXT("rst", "text/x-rst"),
    PACKS("rtf", "application/rtf"),
    TEXT("sh", "text/x-shellscript"),
    PACKS("sql", "application/sql"),
    PACKS("svg", "image/svg+xml"),
    PACKS("tar", "application/x-tar"),
    PACKS("tif", "image/tiff"),
    PACKS("tiff", "image/tiff"),
    PACKS("toml", "application/toml"),
    PLAIN("ts", "video/mp2t"),
    TEXT("tsv", "text/tab-separated-values"),
    PACKS("ttc", "font/collection"),
    PACKS("ttf", "font/ttf"),
    TEXT("txt", "text/plain"),
    TEXT("vcf", "text/vcard"),
    TEXT("vtt", "text/vtt"),
    PACKS("wasm", "application/wasm"),
    PACKS("wav", "audio/wav"),
    PLAIN("weba", "audio/webm"),
    PLAIN("webm", "video/webm"),
    PACKS("webmanifest", "application/manifest+json"),
    PLAIN("webp", "image/webp"),
    PLAIN("whl", "application/zip"),
    PLAIN("woff", "font/woff"),
    PLAIN("woff2", "font/woff2"),
    PACKS("xht", "application/xhtml+xml"),
    PACKS("xhtml", "application/xhtml+xml"),
    PACKS("xls", "application/vnd.ms-excel"),
    PLAIN("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    PACKS("xml", "application/xml"),
    PACKS("xsl", "application/xslt+xml"),
    PACKS("xslt", "application/xslt+xml"),
    PLAIN("xz", "application/x-xz"),
    PACKS("yaml", "application/yaml"),
    PACKS("yml", "application/yaml"),
    PLAIN("zip", "application/zip"),
    PLAIN("zst", "application/zstd"),
    /* clang-format on */
};

static const row other = PLAIN("", "application/octet-stream");

/* What follows the last dot of the name, in small letters, into text; "" if there is none, or none
 * that is short enough. */
static void extension_of(char text[EXTENSION_MOST + 1], const char *name, size_t n) {
    const char *dot = memrchr(name, '.', n);
    size_t length = dot ? n - (size_t)(dot - name) - 1 : 0;
    text[0] = '\0';
    if (length == 0 || length > EXTENSION_MOST) return;
    for (size_t i = 0; i < length; i++) {
        char c = dot[1 + i];
        text[i] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
    }
    text[length] = '\0';
}

mh__mime mh__mime_of(const char *name, size_t n) {
    char extension[EXTENSION_MOST + 1];
    size_t low = 0, high = sizeof rows / sizeof *rows;
    extension_of(extension, name, n);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(extension, rows[middle].extension);
        if (order == 0) return rows[middle].mime;
        *(order < 0 ? &high : &low) = order < 0 ? middle : middle + 1;
    }
    return other.mime;
}
