/* hub_models.c - the models whose hashes are known.
 *
 * Place: rag/embed.  Each hash was found the same in at least two places that do not depend on
 * each other (the published files themselves, other projects' pins).  What the encoder needs
 * and no more: weights, vocabulary, configuration, how it pools. */
#include <config.h>

#include <string.h>

#include "rag/embed/hub.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static const struct hub_file minilm[] = {
    {"config.json", 612, "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"},
    {"1_Pooling/config.json", 190,
     "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23"},
    {"sentence_bert_config.json", 53,
     "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7"},
    {"modules.json", 349, "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf"},
    {"vocab.txt", 231508, "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"},
    {"tokenizer.json", 466247,
     "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"},
    {"model.safetensors", 90868376,
     "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"},
};

static const struct hub_file bge[] = {
    {"config.json", 743, "094f8e891b932f2000c92cfc663bac4c62069f5d8af5b5278c4306aef3084750"},
    {"1_Pooling/config.json", 190,
     "d1caf60c96f5fba2157c0c26b76d80818fad6cf0b8eb5e73ec372ff9818eba5c"},
    {"sentence_bert_config.json", 52,
     "84e39fda68ccbff05bfa723ae9c0e70e23e2ec373b76e0f8c6e71af72a693cbf"},
    {"modules.json", 349, "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf"},
    {"vocab.txt", 231508, "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"},
    {"tokenizer.json", 711396,
     "d241a60d5e8f04cc1b2b3e9ef7a4921b27bf526d9f6050ab90f9267a1f9e5c66"},
    {"model.safetensors", 133466304,
     "3c9f31665447c8911517620762200d2245a2518d6e7208acc78cd9db317e21ad"},
};

/* Pooled by the mean, 512 tokens: what an encoder without further files does. */
static const struct hub_file e5[] = {
    {"config.json", 0, "5dfb0363cd0243be179c03bcaafd1542d0fbb95e8cbcf575fff3e229342adc2f"},
    {"tokenizer.json", 711396,
     "d241a60d5e8f04cc1b2b3e9ef7a4921b27bf526d9f6050ab90f9267a1f9e5c66"},
    {"model.safetensors", 133466304,
     "45bfa60070649aae2244fbc9d508537779b93b6f353c17b0f95ceccb1c5116c1"},
};

static const struct hub_file potion[] = {
    {"config.json", 202, "2a6ac0e9aaa356a68a5688070db78fc3a464fefe85d2f06a1905ce3718687553"},
    {"tokenizer.json", 683666,
     "e67e803f624fb4d67dea1c730d06e1067e1b14d830e2c2202569e3ef0f70bb50"},
    {"model.safetensors", 30236760,
     "f65d0f325faadc1e121c319e2faa41170d3fa07d8c89abd48ca5358d9a223de2"},
};

static const struct hub_model models[] = {
    {"all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2",
     "c9745ed1d9f207416be6d2e6f8de32d1f16199bf", "Apache-2.0", minilm, COUNT(minilm)},
    {"bge-small-en-v1.5", "BAAI/bge-small-en-v1.5", "5c38ec7c405ec4b44b94cc5a9bb96e735b38267a",
     "MIT", bge, COUNT(bge)},
    {"e5-small-v2", "intfloat/e5-small-v2", "ffb93f3bd4047442299a41ebb6fa998a38507c52", "MIT",
     e5, COUNT(e5)},
    {"potion-base-8M", "minishlab/potion-base-8M", "bf8b056651a2c21b8d2565580b8569da283cab23",
     "MIT", potion, COUNT(potion)},
};

const struct hub_model *hub_models(size_t *n)
{
    *n = COUNT(models);
    return models;
}

const struct hub_model *hub_find(const char *name)
{
    for (size_t i = 0; i < COUNT(models); i++)
        if (strcmp(name, models[i].name) == 0 || strcmp(name, models[i].repo) == 0)
            return &models[i];
    return NULL;
}
