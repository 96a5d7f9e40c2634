#include "fanfare_types.h"

static ff_reply total(ff_call *call) {
    (void)call;
    cJSON *currencies = cJSON_CreateArray();
    cJSON_AddItemToArray(currencies, cJSON_CreateString("EUR"));
    shop_inner_rates_takes takes = { .currencies = currencies, .most_recent = true, .has_most_recent = true, .type = "buy" };
    const shop_inner_rates_gives *found;
    if (!shop_inner_rates(&takes, &found, NULL)) return ff_failed();
    int64_t at = found->at;
    const char *name = found->source ? found->source->name : NULL;
    double rate;
    if (!shop_get_by_currency("a/b", ff_no_body(), &rate, &(ff_rpc){ .to = "worker-0", .timeout_ms = 500 })) return ff_failed();
    shop_quote_takes quote = { .lines = cJSON_CreateArray(), .any = cJSON_CreateNumber(1) };
    const shop_quote_gives_line *line;
    if (!shop_quote(&quote, &line, NULL)) return ff_failed();
    const char *next = line->next ? line->next->name : NULL;
    const ff_answer *any = shop_class(ff_text_body("text"), NULL);
    const cJSON *word;
    if (!any || !shop_word("w", &word, NULL)) return ff_failed();
    const ff_receipt *receipt = shop_broadcasts_rate_changed_emit("EUR", NULL);
    const ff_entries *heard = shop_broadcasts_rate_changed_gather("EUR", &(ff_broadcast){ .timeout_ms = 500 });
    if (!receipt || !heard) return ff_failed();
    return ff_textf("%d %s %f %s %s %d", (int)at, name ? name : "", rate, next ? next : "", any->body.data, (int)heard->count);
}

FANFARE_MODULE({ "total", total })
