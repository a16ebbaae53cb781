// Tokens (o200k) of each text in a JSON array on stdin; the folder of the tokenizer's package is the argument.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(`${process.argv[2]}/`);
const { Tiktoken } = require("js-tiktoken/lite");
const tokenizer = new Tiktoken(require("js-tiktoken/ranks/o200k_base"));
const texts = JSON.parse(readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(texts.map((text) => tokenizer.encode(text).length)));
