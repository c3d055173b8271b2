// Made by scripts/page_types.py from the server's own values: don't edit.

/** One of these: whether calls may be made, by their ids; whether an effect has happened; how much more may be used. */
export interface Answered {
  calls?: Record<string, boolean> | null;
  happened?: boolean | null;
  more_usd?: string | null;
  more_tokens?: number;
  more_steps?: number;
}

/** Amounts by name; `texts` are the same as they are read. */
export interface Bars {
  title: string;
  names: string[];
  values: number[];
  texts: string[];
}

/** A model begins to answer. */
export interface Begun {
  type: "begun";
  model: string;
}

/** What a run may use before it pauses and asks. None: not limited. */
export interface Budget {
  pico_usd_max?: number | null;
  tokens_max?: number | null;
  steps_max?: number;
}

/** A tool that the model wants called. `arguments` are JSON text, as the model wrote it. */
export interface Call {
  id: string;
  tool: string;
  arguments: string;
}

/** One tool. `fields` goes by the name of the field, `""` being a bare value and `"*"` a key; `rest` is for those not named. */
export interface Card {
  tool: string;
  says?: string;
  effect?: Effect | null;
  arguments?: Record<string, "account" | "amount" | "asked" | "content" | "fact" | "free" | "hosts" | "object" | "path" | "recipient" | "title" | "url" | "when">;
  fields?: Record<string, Field>;
  rest?: Field;
  repeatable?: boolean;
}

export interface Changes {
  title?: string | null;
  label?: string | null;
  pinned?: boolean | null;
  intent?: string | null;
  model?: string | null;
  budget_usd?: string | null;
}

/** Of one change, which pieces, by their numbers from 0; None: all of it. `version` of None: whichever it has now. */
export interface Choice {
  path: string;
  hunks?: number[] | null;
  version?: string | null;
}

/** The drop-down list that has the focus: a browser draws it outside of its page's picture. `name` is as the page calls it. */
export interface Choices {
  name: string;
  options: Option[];
}

/** Take one of the list that has the focus: its how many-th, and the words by which the person knows it. */
export interface Choose {
  type: "choose";
  number: number;
  label: string;
}

/** At this point of the page's view, in its pixels. */
export interface Click {
  type: "click";
  x: number;
  y: number;
  times: 1 | 2 | 3;
}

/** Text that the model gets beside the request: instructions of a folder, a skill, a memory. It never counts as the person's words. */
export interface ContextGiven {
  type: "ContextGiven";
  name: string;
  text: string;
  writers: number;
  readers: number;
}

/** `take`: do to the folder what was done to the draft. `drop`: give that up. `undo`: put the folder back. `files` chooses files, and */
export interface Doing {
  do: string;
  files?: Choice[] | null;
}

/** What a tool does. `audience` is who gets to read what it passes on; `audience_with` names arguments that widen it when given. */
export interface Effect {
  kind: "app" | "delete" | "event" | "fetch" | "file" | "invite" | "membership" | "message" | "password" | "pay" | "profile" | "publish" | "remember" | "reserve" | "run" | "share";
  audience: Readers;
  audience_with: Record<string, Readers>;
  final: boolean;
  contained: boolean;
  words: string[];
  varied: boolean;
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

/** Of one field of what a tool returns. `own_where`: it is the person's own in a record whose field (first) holds one of these. */
export interface Field {
  writers: Writers;
  readers: Readers;
  role: "address" | "amount" | "handle" | "name" | "size" | "text" | "time" | "today";
  own_where: unknown[] | null;
}

/** One number that matters, as it is read, and what it is. */
export interface Figure {
  value: string;
  what: string;
}

/** Leave the shown branch, or `run`, before its event `at`; say `text` instead, or let the model answer again. */
export interface Forking {
  at: number;
  run?: string | null;
  text?: string | null;
  model?: string | null;
}

/** A picture of the view, as JPEG in base64, and how large the view is in the page's own pixels. */
export interface Frame {
  type: "frame";
  jpeg: string;
  width: number;
  height: number;
}

/** The person gives it back, with the page that is open, which they see to be at `host`. */
export interface Give {
  type: "give";
  host: string;
}

/** What a run may do without asking, beyond what its request says. */
export interface Grant {
  kinds?: string[];
  hosts?: string[];
  standing?: StandingLeave[];
  budget?: Budget;
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

/** How it stands. `share` is of 1, None where nobody knows; `says` is the last that it said. */
export interface Making {
  kind: "plan" | "simulation";
  started: number;
  share: number | null;
  says: string;
  ended: number | null;
  report: string | null;
  failure: string | null;
}

/** Where the agent has done something last: a box of the view, and the how many-th it is. */
export interface Mark {
  number: number;
  what: string;
  x: number;
  y: number;
  width: number;
  height: number;
}

/** `pictures` are shown with it, by the names that they were kept under. */
export interface Message {
  text: string;
  pictures?: string[];
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

/** What is to be found out. `source` names a scenario, or a demand file, that is offered; `text` is one as TOML instead. */
export interface NewReport {
  kind: "plan" | "simulation";
  source: string;
  text: string;
  portfolio: string;
  portfolio_text: string;
  hours: number | null;
  scale: number | null;
  seed: number;
}

/** A schedule to be made. `when` is as people say it; `leave` are texts as `headrace agent schedule --leave` takes them; without a */
export interface NewSchedule {
  when: string;
  task: string;
  zone: string;
  model?: string;
  folder?: string | null;
  take?: boolean;
  budget_usd?: string | null;
  tokens_max?: number | null;
  steps_max?: number;
  hosts?: string[];
  leave?: string[];
  days?: number;
  trust_folder?: boolean;
}

/** A thread to be made. `folder` is a folder of the server's machine, for who administers it; `clone` is a repository that the thread's */
export interface NewThread {
  title?: string;
  label?: string;
  folder?: string | null;
  clone?: Source | null;
  intent?: string;
  model?: string;
  budget_usd?: string | null;
}

/** A trigger to be made. `leave` are texts as `headrace agent schedule --leave` takes them; `folder` is for who administers. */
export interface NewTrigger {
  task: string;
  budget_usd?: string | null;
  tokens_max?: number;
  steps_max?: number;
  model?: string;
  folder?: string | null;
  hosts?: string[];
  leave?: string[];
  days?: number;
  per_hour_max?: number;
  take?: boolean;
  trust_folder?: boolean;
}

/** `events` of none are all. */
export interface NewWebhook {
  url: string;
  events?: string[];
}

/** What is good or bad to read. */
export interface News {
  text: string;
  good: boolean;
}

/** None is open. */
export interface NoBrowser {
  type: "none";
}

/** A sentence for the person that is no event: what is missing this time. */
export interface Noted {
  type: "noted";
  says: string;
}

/** What may be chosen by name, and what is to be installed first: in a sentence, empty where nothing is. */
export interface Offered {
  scenarios: string[];
  plans: string[];
  simulation_lacks: string;
  plan_lacks: string;
}

/** One that can be chosen. */
export interface Option {
  label: string;
  chosen: boolean;
  disabled: boolean;
}

export interface Paused {
  type: "Paused";
  reason: "money" | "steps" | "stopped" | "tokens";
}

/** The request, or more of it while the run goes on. `pictures` are shown with it, by the names under which the run keeps them. */
export interface PersonSaid {
  type: "PersonSaid";
  text: string;
  pictures: string[];
}

/** A key that is no letter, such as Enter or Control+a. */
export interface Press {
  type: "press";
  key: string;
}

/** What it says, as it comes: text of either output, with whatever control sequences it holds. */
export interface Printed {
  type: "printed";
  text: string;
}

export type Readers = 0 | 1 | 2;

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

/** What is open, and who has it; and to who has it, the list that has the focus. */
export interface Scene {
  type: "scene";
  url: string;
  title: string;
  held: boolean;
  mark: Mark | null;
  choices: Choices | null;
}

export interface Scroll {
  type: "scroll";
  x: number;
  y: number;
  right: number;
  down: number;
}

/** A command begins to run in the sandbox. */
export interface Shell {
  type: "shell";
  command: string;
}

/** A report. `good` says whether it came out as wished; None: that was not asked. `sentences` are told below the figures. */
export interface Shown {
  title: string;
  figures: Figure[];
  sentences: string[];
  good: boolean | null;
  stacks: Stack[];
  bars: Bars[];
  tables: ShownTable[];
}

/** `numbers` are the columns, from 0, that are set to the right. */
export interface ShownTable {
  title: string;
  columns: string[];
  numbers: number[];
  rows: ((string | News)[])[];
}

/** Which repository: an https address, or where it is allowed a folder of this machine. `token` is shown to its host, as the password of */
export interface Source {
  url: string;
  token?: string;
  user?: string;
  branch?: string;
  depth?: number;
}

/** Amounts over time or steps, one upon the other; `steps` name the columns. */
export interface Stack {
  title: string;
  unit: string;
  steps: string[];
  names: string[];
  values: number[][];
}

/** Leave ahead of time: "Fridays, this form, once, at most 20". */
export interface StandingLeave {
  type: "StandingLeave";
  id: string;
  tool: string;
  fixed: Record<string, string>;
  amount_max: Record<string, number>;
  free: string[];
  times_max: number;
  expires_at: number;
  by: string;
}

/** How the run stands from now on; with `code` and `why` where it failed, and whether that passes by itself. */
export interface Stands {
  type: "stands";
  state: "done" | "failed" | "new" | "running" | "stopped" | "waiting";
  code: string;
  why: string;
  passes: boolean;
}

/** The person takes the browser; the agent waits from its next step on. */
export interface Take {
  type: "take";
}

/** The first event of a sub-agent: what it is to do, in the words of the agent above it, which are never the person's. */
export interface TaskGiven {
  type: "TaskGiven";
  text: string;
  grant: Grant;
  tools: string[];
}

/** A tool as a model is told of it: `takes` says what each argument is; all are texts, and those that end with `?` may be left out. */
export interface Tool {
  card: Card;
  takes?: Record<string, string>;
  schema?: string;
}

/** From now on the run has these tools beside the workspace's own, with these cards: a tool that changes later changes nothing here. */
export interface ToolsGiven {
  type: "ToolsGiven";
  tools: Tool[];
  writers: number;
}

/** Letters, into what has the focus. */
export interface Type {
  type: "type";
  text: string;
}

/** Open an address, or `back`. */
export interface Visit {
  type: "visit";
  url: string;
}

/** It happened to the sub-agent that this call started. */
export interface Within {
  type: "Within";
  call: string;
  event: PersonSaid | ContextGiven | ToolsGiven | TaskGiven | Within | ModelAsked | ModelSaid | LeaveAsked | LeaveGiven | LeaveRefused | Intended | Returned | Failed | FateAsked | FateKnown | Paused | Resumed | Ended;
}

/** More of its answer, or of what it thinks before it. */
export interface Words {
  type: "words";
  text: string;
  kind: "text" | "thought";
}

export type Writers = 0 | 1 | 2 | 3 | 4;

export type Event = PersonSaid | ContextGiven | ToolsGiven | TaskGiven | Within | ModelAsked | ModelSaid | LeaveAsked | LeaveGiven | LeaveRefused | Intended | Returned | Failed | FateAsked | FateKnown | Paused | Resumed | Ended;

export type Happening = Begun | Words | Shell | Printed | Noted | Stands;

export type Seen = Scene | Frame | NoBrowser;

export type Act = Take | Give | Click | Scroll | Type | Press | Choose | Visit;
