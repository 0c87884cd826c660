// Writes what ONNX Runtime computes on the way through a model, in the layout that `esrgan compare`
// reads: .npy files and manifest.json in a folder.  Needs Node.js and the package onnxruntime-node.
//
//     esrgan trace MODEL.pth in.png -o reference           # right; its input.npy is what to feed
//     node esrgan_trace_onnx.mjs MODEL.onnx reference/input.npy -o onnx-trace
//     esrgan compare reference onnx-trace --model MODEL.pth
//
//     -o DIR             where the trace goes
//     --provider NAME    execution provider: cpu (default), coreml, dml, webgpu, cuda ...
//     --layers GLOB      only values whose name matches: * and ?, several separated by commas
//
// A model gives its outputs only.  What it computes on the way is marked as output in a copy of the
// model in memory: in protobuf a message that comes twice is merged, so a second graph that holds
// nothing but outputs, put behind the model, adds them to the first.   SPDX-License-Identifier: MIT
import fs from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';
import { parseArgs } from 'node:util';

// Fields of onnx.proto.
const MODEL_GRAPH = 7, GRAPH_NODE = 1, GRAPH_OUTPUT = 12, NODE_OUTPUT = 2, NODE_OP = 4, VALUE_NAME = 1;
const TRACED = {
  Conv: 'conv', LeakyRelu: 'lrelu', PRelu: 'lrelu', Relu: 'lrelu', Add: 'add',
  Resize: 'nearest', Upsample: 'nearest',
};

function fail(text) {
  console.error(`esrgan_trace_onnx: ${text}`);
  process.exit(1);
}

// ---- Protobuf: a message is a row of keys (number * 8 + kind), each with a value.

function varint(bytes, at) {
  let value = 0, scale = 1, byte;
  do {
    byte = bytes[at++];
    value += (byte & 127) * scale;
    scale *= 128;
  } while (byte & 128);
  return [value, at];
}

// The fields of a message that carry bytes: text and messages.
function* fields(bytes) {
  for (let at = 0, key, size; at < bytes.length; at += size) {
    [key, at] = varint(bytes, at);
    const kind = key % 8;
    size = kind === 1 ? 8 : kind === 5 ? 4 : 0;
    if (kind === 0 || kind === 2) {
      const [value, next] = varint(bytes, at);
      at = next;
      size = kind === 2 ? value : 0;
    } else if (size === 0) {
      fail('this is no ONNX model');
    }
    if (at + size > bytes.length) fail('this is no ONNX model, or it is cut short');
    if (kind === 2) yield [Math.floor(key / 8), bytes.subarray(at, at + size)];
  }
}

const texts = (message, field) => [...fields(message)].filter(([n]) => n === field).map(([, b]) => b.toString());

function field(number, content) {
  const head = [];
  for (let rest of [number * 8 + 2, content.length]) {
    for (; rest >= 128; rest = Math.floor(rest / 128)) head.push(rest % 128 | 128);
    head.push(rest);
  }
  return Buffer.concat([Buffer.from(head), content]);
}

// What the model computes, in order: { name, op, last: it is an output anyway }.
function valuesOf(model) {
  const graphs = [...fields(model)].filter(([n]) => n === MODEL_GRAPH).map(([, bytes]) => bytes);
  const parts = graphs.flatMap((graph) => [...fields(graph)]);
  const outputs = new Set(parts.filter(([n]) => n === GRAPH_OUTPUT).flatMap(([, v]) => texts(v, VALUE_NAME)));
  return parts.filter(([n]) => n === GRAPH_NODE).flatMap(([, node]) => {
    const op = texts(node, NODE_OP)[0];
    return texts(node, NODE_OUTPUT).map((name) => ({ name, op, last: outputs.has(name) }));
  });
}

const withOutputs = (model, names) =>
  Buffer.concat([model, field(MODEL_GRAPH, Buffer.concat(
    names.map((name) => field(GRAPH_OUTPUT, field(VALUE_NAME, Buffer.from(name))))))]);

// ---- .npy

const TYPES = { float32: ['<f4', 4], float16: ['<f2', 2], float64: ['<f8', 8] };

function readNpy(file) {
  const bytes = fs.readFileSync(file);
  if (bytes.toString('latin1', 0, 6) !== '\x93NUMPY') fail(`${file}: no .npy file`);
  const start = bytes[6] > 1 ? 12 : 10, size = bytes[6] > 1 ? bytes.readUInt32LE(8) : bytes.readUInt16LE(8);
  const header = bytes.toString('latin1', start, start + size);
  const type = Object.keys(TYPES).find((t) => header.includes(`'${TYPES[t][0]}'`));
  const shape = /'shape': \(([^)]*)\)/.exec(header)?.[1].split(',').filter((n) => n.trim()).map(Number);
  if (!type || !shape || !header.includes("'fortran_order': False"))
    fail(`${file}: expected float16, float32 or float64, little-endian, in C order`);
  return { type, shape, bytes: Buffer.from(bytes.subarray(start + size)) };
}

function writeNpy(file, type, shape, data) {
  const text = `{'descr': '${TYPES[type][0]}', 'fortran_order': False, 'shape': (${shape.join(', ')},), }`;
  const padded = text.padEnd(Math.ceil((text.length + 11) / 64) * 64 - 11) + '\n';
  const head = Buffer.alloc(10);
  head.write('\x93NUMPY\x01', 'latin1');
  head.writeUInt16LE(padded.length, 8);
  fs.writeFileSync(file, Buffer.concat([head, Buffer.from(padded),
    Buffer.from(data.buffer, data.byteOffset, data.byteLength)]));
}

// ---- A trace

function typed(type, bytes) {
  const Kind = { float32: Float32Array, float64: Float64Array, float16: globalThis.Float16Array ?? Uint16Array };
  return new Kind[type](bytes.buffer, bytes.byteOffset, bytes.length / TYPES[type][1]);
}

function matcher(globs) {
  if (!globs) return () => true;
  const patterns = globs.split(',').map((glob) => new RegExp('^' +
    glob.replace(/[.+^${}()|[\]\\]/g, '\\$&').replace(/\*/g, '.*').replace(/\?/g, '.') + '$'));
  return (name) => patterns.some((p) => p.test(name));
}

// A name that the comparison knows: the graph's own result is whatever the exporter called it.
const nameOf = (value) => (value.last && value.op === 'Conv' ? 'conv_last' : value.name);

async function trace(ort, modelFile, inputFile, folder, provider, globs) {
  const model = fs.readFileSync(modelFile), input = readNpy(inputFile), wanted = matcher(globs);
  const values = valuesOf(model).filter((v) => TRACED[v.op] && wanted(nameOf(v)));
  if (!values.length) fail(`${modelFile}: nothing to trace`);
  const session = await ort.InferenceSession.create(
    withOutputs(model, values.filter((v) => !v.last).map((v) => v.name)), { executionProviders: [provider] });
  const feed = new ort.Tensor(input.type, typed(input.type, input.bytes), input.shape);
  const results = await session.run({ [session.inputNames[0]]: feed }, values.map((v) => v.name));

  fs.mkdirSync(folder, { recursive: true });
  const listed = [];
  const keep = (name, op, tensor) => {
    const file = `${listed.length}.npy`;
    writeNpy(path.join(folder, file), tensor.type, tensor.dims, tensor.data);
    listed.push({ index: listed.length, name, op, shape: tensor.dims, dtype: tensor.type, file });
  };
  if (wanted('input')) keep('input', 'input', feed);
  for (const value of values) keep(nameOf(value), TRACED[value.op], results[value.name]);
  const precision = { float32: 'fp32', float16: 'fp16', float64: 'fp64' }[input.type];
  const manifest = {
    format: 'esrgan-trace', version: 1, producer: `ONNX Runtime ${ort.env.versions?.node ?? ''}`.trim(),
    precision, backend: provider, values: listed,
  };
  fs.writeFileSync(path.join(folder, 'manifest.json'), JSON.stringify(manifest, null, 1));
  return listed.length;
}

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    output: { type: 'string', short: 'o' },
    provider: { type: 'string', default: 'cpu' },
    layers: { type: 'string' },
  },
});
if (positionals.length !== 2 || !options.output) {
  console.error('usage: node esrgan_trace_onnx.mjs [--provider NAME] [--layers GLOB] MODEL.onnx IN.npy -o DIR');
  process.exit(2);
}

// Installed beside this script, above it, or where the user stands.
let ort;
for (const from of [import.meta.url, path.join(process.cwd(), 'here.js')]) {
  try {
    ort ??= createRequire(from)('onnxruntime-node');
  } catch (error) {
    if (error.code !== 'MODULE_NOT_FOUND') throw error;
  }
}
if (!ort) fail('onnxruntime-node is not installed: npm install onnxruntime-node');
try {
  const count = await trace(ort, ...positionals, options.output, options.provider, options.layers);
  console.log(`${options.output}: ${count} values`);
} catch (error) {
  fail(error.message);
}
