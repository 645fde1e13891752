"""A transformers Trainer on a tiny BERT made here, whose pipeline is then logged."""

import json

import mlflow
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "fine", "poor", "very", "not"]
TEXTS = ["good", "very good", "fine", "very fine", "bad", "very bad", "poor", "very poor"] * 4
LABELS = [1, 1, 1, 1, 0, 0, 0, 0] * 4


def sample() -> list[str]:
    return ["very good", "not fine", "poor"]


class Sentences(torch.utils.data.Dataset):
    def __init__(self, tokenizer: transformers.PreTrainedTokenizerFast) -> None:
        self.encoded = tokenizer(TEXTS, padding="max_length", max_length=4)

    def __len__(self) -> int:
        return len(TEXTS)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        item = {key: torch.tensor(values[index]) for key, values in self.encoded.items()}
        return {**item, "labels": torch.tensor(LABELS[index])}


def tiny_tokenizer() -> transformers.PreTrainedTokenizerFast:
    words = {word: index for index, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    )


if __name__ == "__main__":
    mlflow.set_experiment("transformers")
    mlflow.transformers.autolog()

    transformers.set_seed(7)
    tokenizer = tiny_tokenizer()
    model = transformers.BertForSequenceClassification(
        transformers.BertConfig(
            vocab_size=len(WORDS),
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=8,
        )
    )
    trainer = transformers.Trainer(
        model=model,
        args=transformers.TrainingArguments(
            output_dir="trainer",
            num_train_epochs=2,
            per_device_train_batch_size=8,
            learning_rate=0.01,
            logging_steps=2,
            eval_strategy="epoch",
            save_strategy="epoch",
            use_cpu=True,
            disable_tqdm=True,
        ),
        train_dataset=Sentences(tokenizer),
        eval_dataset=Sentences(tokenizer),
    )
    with mlflow.start_run(run_name="tiny-bert"):
        trainer.train()
        classifier = transformers.pipeline(
            "text-classification", model=trainer.model, tokenizer=tokenizer, device="cpu"
        )
        # MLflow's own list of requirements wants torchvision, which nothing here needs.
        requirements = ["torch", "transformers"]
        mlflow.transformers.log_model(classifier, name="classifier", pip_requirements=requirements)

    print(json.dumps([[it["label"], it["score"]] for it in classifier(sample())]))
