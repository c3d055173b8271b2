// Made by scripts/page_types.py from the server's own values: don't edit.

/** One of these: whether calls may be made, by their ids; whether an effect has happened; how much more may be used. */
export interface Answered {
  calls?: Record<string, boolean> | null;
  happened?: boolean | null;
  more_usd?: string | null;
  more_tokens?: number;
  more_steps?: number;
}

/** A model begins to answer. */
export interface Begun {
  type: "begun";
  model: string;
}

/** A tool that the model wants called. `arguments` are JSON text, as the model wrote it. */
export interface Call {
  id: string;
  tool: string;
  arguments: string;
}

export interface Changes {
  title?: string | null;
  label?: string | null;
  pinned?: boolean | null;
  intent?: string | null;
  model?: string | null;
  budget_usd?: string | null;
}

/** Text that the model gets beside the request: instructions of a folder, a skill, a memory. It never counts as the person's words. */
export interface ContextGiven {
  type: "ContextGiven";
  name: string;
  text: string;
  writers: number;
  readers: number;
}

/** The run is over. `text` is its answer. */
export interface Ended {
  type: "Ended";
  text: string;
}

/** The call was not made, or broke; the model is told why. */
export interface Failed {
  type: "Failed";
  call: string;
  says: string;
}

/** A crash came between an effect's intent and its outcome, and only the person can find out whether it happened. */
export interface FateAsked {
  type: "FateAsked";
  call: string;
}

/** `happened`: it did, and is not made again; otherwise it is. */
export interface FateKnown {
  type: "FateKnown";
  call: string;
  happened: boolean;
}

/** Leave the shown branch, or `run`, before its event `at`; say `text` instead, or let the model answer again. */
export interface Forking {
  at: number;
  run?: string | null;
  text?: string | null;
  model?: string | null;
}

/** The call is about to be made. `key` stays the same when it is made again, for who can tell a repetition by it. */
export interface Intended {
  type: "Intended";
  call: string;
  key: string;
  standing: string | null;
}

/** Leave to exactly this call, once. */
export interface Leave {
  type: "Leave";
  tool: string;
  arguments: string;
  by: string;
  given_at: number;
}

/** The person is shown these exact calls and why they need leave. */
export interface LeaveAsked {
  type: "LeaveAsked";
  calls: Call[];
  reasons: Reason[][];
}

/** The person allows one call, exactly as it is. */
export interface LeaveGiven {
  type: "LeaveGiven";
  call: string;
  leave: Leave;
}

/** The person refuses one call; `says` goes to the model. */
export interface LeaveRefused {
  type: "LeaveRefused";
  call: string;
  says: string;
}

export interface Message {
  text: string;
  intent?: string | null;
  model?: string | null;
  budget_usd?: string | null;
}

/** A model is called. Without a `ModelSaid` after it, the call may be made again: it changes nothing but the bill. */
export interface ModelAsked {
  type: "ModelAsked";
  model: string;
}

/** What the model said, which tools it wants called, and what that used. Nothing that it says is trusted. */
export interface ModelSaid {
  type: "ModelSaid";
  text: string;
  calls: Call[];
  tokens: number;
  pico_usd: number;
  request: string;
}

/** A key to be made. What is left out is not limited. */
export interface NewKey {
  name: string;
  organization: string;
  project: string;
  traffic_class?: string;
  requests_per_minute?: number | null;
  tokens_per_minute?: number | null;
}

/** A thread to be made. `folder` is a folder of the server's machine, for who administers it. */
export interface NewThread {
  title?: string;
  label?: string;
  folder?: string | null;
  intent?: string;
  model?: string;
  budget_usd?: string | null;
}

export interface Paused {
  type: "Paused";
  reason: "money" | "steps" | "stopped" | "tokens";
}

/** The request, or more of it while the run goes on. */
export interface PersonSaid {
  type: "PersonSaid";
  text: string;
}

/** Why leave is needed: which rule, about which argument and value. */
export interface Reason {
  rule: string;
  argument: string;
  value: string;
  says: string;
}

/** The run goes on, with so much more to use; 0 adds nothing. */
export interface Resumed {
  type: "Resumed";
  more_pico_usd: number;
  more_tokens: number;
  more_steps: number;
}

/** The call was made, and this is what came back, as JSON. `sealed`: the model gets only a handle of it. */
export interface Returned {
  type: "Returned";
  call: string;
  value: string;
  sealed: boolean;
}

/** How the run stands from now on; with `code` and `why` where it failed, and the id of the request that did. */
export interface Stands {
  type: "stands";
  state: "done" | "failed" | "new" | "running" | "stopped" | "waiting";
  code: string;
  why: string;
}

/** More of its answer, or of what it thinks before it. */
export interface Words {
  type: "words";
  text: string;
  kind: "text" | "thought";
}

export type Event = PersonSaid | ContextGiven | ModelAsked | ModelSaid | LeaveAsked | LeaveGiven | LeaveRefused | Intended | Returned | Failed | FateAsked | FateKnown | Paused | Resumed | Ended;

export type Happening = Begun | Words | Stands;
