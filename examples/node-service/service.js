// A service in Node that runs a step of a flow which others own: @grpc/grpc-js and flow.proto, nothing else.
//
//   npm install
//   node service.js 127.0.0.1:50051 ../../flow_core/proto/flow.proto
//
// It registers the step `label` of the flow `checkout`, after a step `charge` that somebody else registers, and answers
// its calls over the stream that it opened itself: no port of its own. When the connection is lost it comes back, and
// registers again. On SIGTERM it takes its step out of the flow, lets calls under way end, and exits with 0.
// FLOW_KEY holds its API key, FLOW_KEEP=1 leaves the step registered at the end.
"use strict";

const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const [address = "127.0.0.1:50051", proto = "../../flow_core/proto/flow.proto"] = process.argv.slice(2);
const SERVICE = "shipping";
const FLOW = "checkout";
const FAREWELL = 2000; // ms that leaving waits for the server

const { go } = grpc.loadPackageDefinition(
  loader.loadSync(proto, { keepCase: true, longs: Number, oneofs: true }),
);
const client = new go.micro.flow.FlowService(address, grpc.credentials.createInsecure(), {
  "grpc.max_reconnect_backoff_ms": 2000,
});

// What this service does. Data is bytes; here they are JSON.
const endpoints = {
  async label(data, headers) {
    const charged = JSON.parse(data.toString());
    if (charged.amount < 0) throw Object.assign(new Error("nothing is shipped for a negative amount"), { permanent: true });
    return Buffer.from(JSON.stringify({ ...charged, label: `LBL-${headers["flow-execution"]}` }));
  },
};

const step = {
  format: 1,
  name: "label",
  after: ["charge"],
  operation: { name: `${SERVICE}.label`, type: "client_call_operation", options: { service: SERVICE, endpoint: "label" } },
  retry_count: 3,
};

let stream = null;
let leaving = false;
let others = null; // resolves the farewell
const underWay = new Set();

function metadata() {
  const found = new grpc.Metadata();
  if (process.env.FLOW_KEY) found.set("authorization", `Bearer ${process.env.FLOW_KEY}`);
  return found;
}

function unary(method, request) {
  return new Promise((resolve, reject) =>
    client[method](request, metadata(), (error, reply) => (error ? reject(error) : resolve(reply))),
  );
}

async function answer(to, call) {
  const reply = { number: call.number };
  try {
    const endpoint = endpoints[call.endpoint];
    if (!endpoint) throw new Error(`no endpoint ${call.endpoint}`);
    reply.data = await endpoint(call.data, call.headers);
  } catch (error) {
    reply.error = { message: String(error.message), permanent: Boolean(error.permanent) };
  }
  to.write({ answer: reply });
}

// One stream, from hello to its end.
function talk() {
  return new Promise((resolve) => {
    const own = client.Serve(metadata());
    own.on("error", resolve);
    own.on("end", () => resolve(new Error("the server has ended the stream")));
    own.on("data", async (message) => {
      if (message.welcome) {
        try {
          await unary("CreateStep", { flow: FLOW, owner: SERVICE, steps: [step] });
          stream = own;
          console.log("ready");
        } catch (error) {
          resolve(error);
        }
      } else if (message.call) {
        const running = answer(own, message.call).finally(() => underWay.delete(running));
        underWay.add(running);
      } else if (message.what === "instances" && others) {
        others(message.instances);
      }
    });
    own.write({ hello: { service: SERVICE, endpoints: Object.keys(endpoints), concurrency: 50 } });
  });
}

async function stay() {
  for (let attempt = 0; !leaving; attempt++) {
    const lost = await talk();
    if (stream) attempt = 0;
    stream = null;
    if (leaving) return;
    console.log(`away: ${lost.message}`);
    await new Promise((resolve) => setTimeout(resolve, Math.min(2000, 50 * 2 ** attempt) * (0.5 + Math.random() / 2)));
  }
}

async function leave() {
  if (leaving) return;
  leaving = true;
  if (stream) {
    const asked = new Promise((resolve) => (others = resolve));
    stream.write({ draining: true });
    const left = await Promise.race([asked, new Promise((resolve) => setTimeout(resolve, FAREWELL, null))]);
    if (left === 0 && process.env.FLOW_KEEP !== "1") {
      await unary("DeleteStep", { flow: FLOW, step: step.name }).catch((error) => console.error(error.message));
    }
    await Promise.all(underWay);
    stream.end();
  }
  client.close();
  console.log("left");
  setTimeout(() => process.exit(0), 100); // what was written is on its way
}

process.on("SIGTERM", leave);
process.on("SIGINT", leave);
stay();
