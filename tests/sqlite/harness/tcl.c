/*
 * tcl.c - Tcl commands by which the harness reaches databases through the VFS
 * under test. Linked into SQLite's testfixture, whose start-up it wraps.
 *
 *   suite_delete NAME...   xDelete
 *   suite_exists NAME      xAccess(SQLITE_ACCESS_EXISTS)
 *   suite_size NAME        xOpen, xFileSize, xClose
 *   suite_copy FROM TO     page by page, as the pager would write it
 */
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <tcl.h>

#define COPY_BUFFER 65536

extern const char *sqlite3TestInit(Tcl_Interp *interp);
extern sqlite3_vfs *suite_vfs(void); /* init.c */
const char *suite_tcl_init(Tcl_Interp *interp);

static sqlite3_vfs *
the_vfs(void)
{
    return suite_vfs() != NULL ? suite_vfs() : sqlite3_vfs_find(NULL);
}

/* The absolute name, with the zeros around it that a VFS may look for, as
 * sqlite3_create_filename() makes them. NULL: no such path. */
static char *
full_name(const char *name)
{
    sqlite3_vfs *vfs = the_vfs();
    char *block = calloc(1, (size_t)vfs->mxPathname + 32);

    if (block == NULL)
        return NULL;
    if (vfs->xFullPathname(vfs, name, vfs->mxPathname + 1, block + 4) !=
            SQLITE_OK &&
        block[4] == '\0') {
        free(block);
        return NULL;
    }
    return block + 4;
}

static void
free_name(char *name)
{
    if (name != NULL)
        free(name - 4);
}

static int
fail(Tcl_Interp *interp, const char *what, int code)
{
    Tcl_SetObjResult(interp, Tcl_ObjPrintf("%s: SQLite error %d", what, code));
    return TCL_ERROR;
}

static int
delete_command(ClientData data, Tcl_Interp *interp, int count,
               Tcl_Obj *const *args)
{
    sqlite3_vfs *vfs = the_vfs();
    int result = SQLITE_OK;

    (void)data;
    for (int i = 1; i < count; i++) {
        char *name = full_name(Tcl_GetString(args[i]));
        int code;

        if (name == NULL)
            continue;
        code = vfs->xDelete(vfs, name, 0);
        if (code != SQLITE_OK && code != SQLITE_IOERR_DELETE_NOENT)
            result = code;
        free_name(name);
    }
    Tcl_SetObjResult(interp, Tcl_NewIntObj(result));
    return TCL_OK;
}

static int
exists_command(ClientData data, Tcl_Interp *interp, int count,
               Tcl_Obj *const *args)
{
    sqlite3_vfs *vfs = the_vfs();
    char *name = count == 2 ? full_name(Tcl_GetString(args[1])) : NULL;
    int exists = 0;

    (void)data;
    if (name != NULL)
        vfs->xAccess(vfs, name, SQLITE_ACCESS_EXISTS, &exists);
    free_name(name);
    Tcl_SetObjResult(interp, Tcl_NewIntObj(exists));
    return TCL_OK;
}

struct open_file {
    char *name;
    sqlite3_file *file;
};

static void
close_file(struct open_file *open)
{
    if (open->file != NULL && open->file->pMethods != NULL)
        open->file->pMethods->xClose(open->file);
    free(open->file);
    free_name(open->name);
    *open = (struct open_file){NULL, NULL};
}

static int
open_file(const char *name, int flags, struct open_file *out)
{
    sqlite3_vfs *vfs = the_vfs();
    const size_t length = strlen(name);
    const int is_journal =
        length > 8 && strcmp(name + length - 8, "-journal") == 0;
    int out_flags = 0;
    int code;

    *out =
        (struct open_file){full_name(name), calloc(1, (size_t)vfs->szOsFile)};
    if (out->name == NULL || out->file == NULL) {
        close_file(out);
        return SQLITE_CANTOPEN;
    }
    flags |= is_journal ? SQLITE_OPEN_MAIN_JOURNAL : SQLITE_OPEN_MAIN_DB;
    code = vfs->xOpen(vfs, out->name, out->file, flags, &out_flags);
    if (code != SQLITE_OK)
        close_file(out);
    return code;
}

static int
size_command(ClientData data, Tcl_Interp *interp, int count,
             Tcl_Obj *const *args)
{
    struct open_file open;
    sqlite3_int64 size = 0;
    int code;

    (void)data;
    if (count != 2)
        return TCL_ERROR;
    /* For reading: what is no replica must not become one by being measured. */
    code = open_file(Tcl_GetString(args[1]), SQLITE_OPEN_READONLY, &open);
    if (code == SQLITE_OK) {
        code = open.file->pMethods->xFileSize(open.file, &size);
        close_file(&open);
    }
    if (code != SQLITE_OK)
        return fail(interp, "suite_size", code);
    Tcl_SetObjResult(interp, Tcl_NewWideIntObj(size));
    return TCL_OK;
}

static int
page_size_of(sqlite3_file *file)
{
    unsigned char header[100] = {0};
    int size;

    if (file->pMethods->xRead(file, header, sizeof(header), 0) != SQLITE_OK)
        return 1024;
    size = header[16] << 8 | header[17];
    if (size == 1)
        return 65536;
    return size >= 512 && (size & (size - 1)) == 0 ? size : 1024;
}

static int
copy_pages(sqlite3_file *from, sqlite3_file *to)
{
    unsigned char *page = calloc(1, COPY_BUFFER);
    const int page_size = page_size_of(from);
    sqlite3_int64 size = 0;
    int code =
        page != NULL ? from->pMethods->xFileSize(from, &size) : SQLITE_NOMEM;

    for (sqlite3_int64 at = 0; code == SQLITE_OK && at < size;
         at += page_size) {
        const int length = size - at < page_size ? (int)(size - at) : page_size;

        code = from->pMethods->xRead(from, page, length, at);
        if (code == SQLITE_OK || code == SQLITE_IOERR_SHORT_READ)
            code = to->pMethods->xWrite(to, page, length, at);
    }
    free(page);
    return code == SQLITE_OK ? to->pMethods->xTruncate(to, size) : code;
}

/* What the pager does around a transaction. */
static int
lock_for_writing(sqlite3_file *file)
{
    static const int levels[] = {SQLITE_LOCK_SHARED, SQLITE_LOCK_RESERVED,
                                 SQLITE_LOCK_EXCLUSIVE};
    int code = SQLITE_OK;

    for (int i = 0; i < 3 && code == SQLITE_OK; i++)
        code = file->pMethods->xLock(file, levels[i]);
    return code;
}

static int
control(sqlite3_file *file, int op)
{
    const int code = file->pMethods->xFileControl(file, op, NULL);

    return code == SQLITE_NOTFOUND ? SQLITE_OK : code;
}

static int
commit(sqlite3_file *file)
{
    int code = control(file, SQLITE_FCNTL_SYNC);

    if (code == SQLITE_OK)
        code = file->pMethods->xSync(file, SQLITE_SYNC_NORMAL);
    if (code == SQLITE_OK)
        code = control(file, SQLITE_FCNTL_COMMIT_PHASETWO);
    return code;
}

static int
copy_command(ClientData data, Tcl_Interp *interp, int count,
             Tcl_Obj *const *args)
{
    struct open_file from;
    struct open_file to = {NULL, NULL};
    int is_journal;
    int code;

    (void)data;
    if (count != 3)
        return TCL_ERROR;
    is_journal = strstr(Tcl_GetString(args[2]), "-journal") != NULL;
    code = open_file(Tcl_GetString(args[1]), SQLITE_OPEN_READWRITE, &from);
    if (code != SQLITE_OK)
        return fail(interp, "suite_copy: from", code);
    code = open_file(Tcl_GetString(args[2]),
                     SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &to);
    if (code == SQLITE_OK && !is_journal)
        code = lock_for_writing(to.file);
    if (code == SQLITE_OK)
        code = copy_pages(from.file, to.file);
    if (code == SQLITE_OK)
        code = commit(to.file);
    if (to.file != NULL && !is_journal) {
        to.file->pMethods->xUnlock(to.file, SQLITE_LOCK_SHARED);
        to.file->pMethods->xUnlock(to.file, SQLITE_LOCK_NONE);
    }
    close_file(&from);
    if (to.file != NULL)
        close_file(&to);
    return code == SQLITE_OK ? TCL_OK : fail(interp, "suite_copy", code);
}

const char *
suite_tcl_init(Tcl_Interp *interp)
{
    const char *result;

    sqlite3_initialize(); /* the VFS, before any test makes one on top */
    result = sqlite3TestInit(interp);
    Tcl_CreateObjCommand(interp, "suite_delete", delete_command, NULL, NULL);
    Tcl_CreateObjCommand(interp, "suite_exists", exists_command, NULL, NULL);
    Tcl_CreateObjCommand(interp, "suite_size", size_command, NULL, NULL);
    Tcl_CreateObjCommand(interp, "suite_copy", copy_command, NULL, NULL);
    return result;
}
