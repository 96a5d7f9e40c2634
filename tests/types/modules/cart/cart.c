#include "fanfare_types.h"

static ff_reply total(ff_call *call) {
    (void)call;
    cJSON *currencies = cJSON_CreateArray();
    cJSON_AddItemToArray(currencies, cJSON_CreateString("EUR"));
    shop_inner_rates_takes takes = { .currencies = currencies, .most_recent = true, .has_most_recent = true, .type = "buy" };
    const shop_inner_rates_gives *found;
    if (!shop_inner_rates(&takes, &found, NULL)) return ff_failed();
    int count = cJSON_GetArraySize(found->rates) + (int)found->at;
    const char *name = found->source ? found->source->name : NULL;
    shop_get_by_currency_query query = { .day = "mo & tu", .limit = 3, .has_limit = true, .exact = true, .has_exact = true };
    const ff_rpc options = { .to = "worker-0", .timeout_ms = 5000 };
    double rate;
    if (!shop_get_by_currency("a/b", &query, ff_no_body(), &rate, &options)) return ff_failed();
    shop_quote_takes quote = { .lines = cJSON_Parse("[{\"price\":1,\"parts\":[{\"price\":2}]}]"), .any = cJSON_CreateNumber(1) };
    const shop_quote_gives_line *line;
    if (!shop_quote(&quote, &line, NULL)) return ff_failed();
    const char *next = line->next ? line->next->name : NULL;
    const ff_answer *any = shop_class(ff_text_body("text"), NULL);
    const cJSON *word;
    if (!any || !shop_word("w", &word, NULL)) return ff_failed();
    const ff_receipt *receipt = shop_broadcasts_rate_changed_emit("EUR", NULL);
    const ff_entries *heard = shop_broadcasts_rate_changed_gather("EUR", &(ff_broadcast){ .timeout_ms = 5000 });
    if (!receipt || !heard) return ff_failed();
    const char *answers = "";
    for (size_t i = 0; i < heard->count; i++) {
        bool answer;
        if (!shop_broadcasts_rate_changed_reply(&heard->all[i], &answer)) return ff_failed();
        answers = ff_format("%s%s%s", answers, i ? "," : "", answer ? "true" : "false");
    }
    return ff_textf("%d %s %g %s %.*s %s %u %s", count, name ? name : "", rate, next ? next : "", (int)any->body.len,
                    (const char *)any->body.data, cJSON_GetStringValue(word), (unsigned)receipt->accepted, answers);
}

FANFARE_MODULE({ "total", total })
