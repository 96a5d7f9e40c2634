// What the files of the module share.
#include <fanfare.h>

#define KEY "conformance"

// Adds a text to an object, `null` for NULL.
void put_text(cJSON *object, const char *name, const char *text);

// Adds a value to an object, `null` for NULL.
void put(cJSON *object, const char *name, cJSON *value);

// Returns the text with this name in an object, or NULL.
const char *text_of(const cJSON *object, const char *name);

// Returns the kind of the last error, or `none`.
const char *kind_of(bool ok);

// In calls.c.
ff_reply ask(ff_call *call);
ff_reply refused(ff_call *call);
ff_reply caught(ff_call *call);
ff_reply every(ff_call *call);
ff_reply deep(ff_call *call);
ff_reply late(ff_call *call);
ff_reply origin(ff_call *call);
ff_reply peer(ff_call *call);
ff_reply relay(ff_call *call);

// In limits.c.
ff_reply greedy(ff_call *call);
ff_reply hoard(ff_call *call);
ff_reply read_clocks(ff_call *call);
ff_reply overflow(ff_call *call);

// In requests.c.
ff_reply fetched(ff_call *call);

// In triggers.c.
ff_reply emit(ff_call *call);
ff_reply gather(ff_call *call);
ff_reply told(ff_call *call);
ff_reply keep(ff_call *call);
ff_reply renew(ff_call *call);
ff_reply warm(ff_call *call);
ff_reply warmed(ff_call *call);
ff_reply tick(ff_call *call);
ff_reply tenant(ff_call *call);
ff_reply visited(ff_call *call);
ff_reply publish(ff_call *call);
ff_reply admit(ff_call *call);
ff_reply tell(ff_call *call);
ff_reply heard(ff_call *call);
ff_reply subscribe(ff_call *call);
ff_reply message(ff_call *call);

// In clients.c.
ff_reply upgrade(ff_call *call);
ff_reply room(ff_call *call);
ff_reply left(ff_call *call);
ff_reply clients(ff_call *call);
ff_reply channel(ff_call *call);
ff_reply may(ff_call *call);
