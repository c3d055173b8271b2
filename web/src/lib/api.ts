// What the page asks of its server. A failure says what happened and what to do, in the server's own words.

import type { Act, Answered, Changes as ThreadChanges, Doing, Event, Forking, Making, Message, NewKey, NewReport, NewSchedule, NewThread, NewTrigger, NewWebhook, Offered, Shown } from './types'

export const API = '/workspace/api'

export class Refused extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly code: string,
    readonly request: string,
    /** Which field is wrong. */
    readonly param = '',
  ) {
    super(message)
  }
}

export interface Visitor {
  name: string
  organization: string
  project: string
  key: string
  admin: boolean
}

export type State = 'new' | 'running' | 'waiting' | 'done' | 'stopped' | 'failed'

export interface Thread {
  id: string
  title: string
  label: string
  folder: string | null
  intent: string
  model: string
  pinned: boolean
  created: number
  updated: number
  run: string
  state: State
  tokens: number
  cost_usd: string
}

export interface Branch {
  id: string
  parent: string | null
  forked_at: number
  created: number
}

export interface WholeThread extends Thread {
  budget_usd: string | null
  note: string
  branches: Branch[]
}

export interface Entry {
  seq: number
  at: number
  event: Event
}

export interface Found {
  thread: string
  title: string
  run: string
  seq: number
  piece: string
}

export type Ask =
  | { kind: 'leave'; call: { id: string; tool: string; arguments: string }; reasons: { rule: string; argument: string; value: string; says: string }[] }
  | { kind: 'pause'; reason: string }
  | { kind: 'failure'; code: string; why: string }
  | { kind: 'fate'; call: { id: string; tool: string; arguments: string } }

export interface Memory {
  id: string
  about: string
  text: string
  how: 'said' | 'leave' | 'added' | 'edited'
  run: string
  /** Where it was said. */
  thread: string | null
  source: string
  created: number
  changed: number
}

/** A piece of a change, with the unchanged lines around it; each line has its end. */
export interface Piece {
  old_start: number
  new_start: number
  skips: boolean
  lead: string[]
  old: string[]
  new: string[]
  tail: string[]
}

export interface Changes {
  changes: {
    path: string
    kind: 'added' | 'changed' | 'deleted' | 'renamed'
    source: string | null
    version: string
    /** Somebody else has changed the folder's file meanwhile. */
    foreign: boolean
    /** null: it is kept or left whole, because of `whole`. */
    hunks: Piece[] | null
    whole: string
  }[]
  taken: { path: string; kind: string }[]
  folder: string | null
}

export interface CameOf {
  due: number
  state: 'begun' | 'done' | 'waiting' | 'failed' | 'skipped'
  says: string
  run: string
  thread: string | null
  changed: number
}

export interface Schedule {
  id: string
  when: string
  zone: string
  model: string
  task: string
  folder: string | null
  created: number
  ended: number | null
  paused: number | null
  expires: number | null
  /** It was made by a command. */
  terminal: boolean
  next: number[]
  last: CameOf | null
  /** What it may do without asking, a sentence each. */
  may: string[]
  invalid: string | null
}

export interface WholeSchedule extends Schedule {
  firings: CameOf[]
}

/** A message from outside, and what it has started. */
export interface Call {
  id: string
  thread: string
  run: string
  received: number
}

export interface Trigger {
  id: string
  path: string
  model: string
  per_hour_max: number
  created: number
  ended: number | null
  last: Call | null
  task: string
  folder: string | null
  expires: number | null
  take: boolean
  may: string[]
  invalid: string | null
}

export interface WholeTrigger extends Trigger {
  deliveries: Call[]
}

export interface Webhook {
  id: string
  url: string
  /** None are all. */
  events: string[]
  created: number
  paused: number | null
  /** It is told of everybody's runs. */
  terminal: boolean
}

export interface Telling {
  id: string
  event: string
  created: number
  state: 'heard' | 'given up' | 'waits'
  tries: number
  next_try: number | null
  delivered: number | null
  failure: string | null
}

export interface WholeWebhook extends Webhook {
  deliveries: Telling[]
}

export interface ReportHead {
  id: string
  kind: 'plan' | 'simulation'
  made: number
  /** The command that made it. */
  line: string
  title: string
  good: boolean | null
}

export interface Report extends Omit<ReportHead, 'title' | 'good'> {
  shown: Shown
  whole: unknown
}

export interface Model {
  id: string
  owned_by: string
  x_headrace: {
    operations: string[]
    /** What it can do; null: not known. */
    capabilities: string[] | null
    pools: string[]
    usd_per_mtok: { input: string; output: string | null } | null
  }
}

let signedOut: () => void = () => {}

/** What to do when the server says that nobody is signed in. */
export function whenSignedOut(then: () => void): void {
  signedOut = then
}

async function asked(method: string, path: string, body?: BodyInit): Promise<Response> {
  let answer: Response
  try {
    answer = await fetch(path, { method, body, headers: typeof body === 'string' ? { 'content-type': 'application/json' } : undefined })
  } catch {
    throw new Refused('The server does not answer. Is it running? What you typed is kept here.', 0, 'unreachable', '')
  }
  if (answer.ok) return answer
  const told = await answer.json().catch(() => null)
  const error = told?.error ?? {}
  if (answer.status === 401 && !path.endsWith('/session')) signedOut()
  throw new Refused(error.message ?? `The server answers ${answer.status}.`, answer.status, error.code ?? '', answer.headers.get('x-request-id') ?? '', error.param ?? '')
}

async function json<T>(method: string, path: string, body?: unknown): Promise<T> {
  const answer = await asked(method, path, body === undefined ? undefined : JSON.stringify(body))
  return (answer.status === 204 ? undefined : await answer.json()) as T
}

const of = (id: string) => `${API}/threads/${id}`
const at = (path: string) => path.split('/').map(encodeURIComponent).join('/')

export const api = {
  me: () => json<Visitor>('GET', `${API}/session`),
  signIn: (by: { key: string } | { link: string }) => json<Visitor>('POST', `${API}/session`, by),
  ways: () => json<{ login: string | null; provider: string | null; why: string | null }>('GET', '/auth/ways'),
  signOut: () => json<void>('DELETE', `${API}/session`),
  threads: () => json<{ threads: Thread[] }>('GET', `${API}/threads`).then((told) => told.threads),
  create: (asked: NewThread) => json<WholeThread>('POST', `${API}/threads`, asked),
  thread: (id: string) => json<WholeThread>('GET', of(id)),
  change: (id: string, changes: ThreadChanges) => json<WholeThread>('PATCH', of(id), changes),
  remove: (id: string) => json<void>('DELETE', of(id)),
  log: (id: string, run: string) => json<{ total: number; events: Entry[] }>('GET', `${of(id)}/log?run=${run}`),
  say: (id: string, message: Message) => json<{ run: string }>('POST', `${of(id)}/messages`, message),
  addPicture: (id: string, content: Blob) =>
    asked('POST', `${of(id)}/pictures`, content).then((answer) => answer.json() as Promise<{ name: string }>).then((told) => told.name),
  stop: (id: string) => json<unknown>('POST', `${of(id)}/stop`, {}),
  halt: (id: string) => json<unknown>('POST', `${of(id)}/halt`, {}),
  inBrowser: (id: string, act: Act) => json<void>('POST', `${of(id)}/browser`, act),
  go: (id: string) => json<unknown>('POST', `${of(id)}/go`, {}),
  answer: (id: string, answer: Answered) => json<unknown>('POST', `${of(id)}/answer`, answer),
  fork: (id: string, forking: Forking) => json<WholeThread>('POST', `${of(id)}/fork`, forking),
  show: (id: string, run: string) => json<WholeThread>('POST', `${of(id)}/branch`, { run }),
  share: (id: string) => json<{ path: string }>('POST', `${of(id)}/share`, {}),
  unshare: (id: string) => json<{ revoked: number }>('DELETE', `${of(id)}/share`),
  shared: (token: string) => json<{ title: string; events: Entry[] }>('GET', `${API}/shared/${token}`),
  search: (words: string) => json<{ found: Found[] }>('GET', `${API}/search?q=${encodeURIComponent(words)}`).then((told) => told.found),
  inbox: () => json<{ waiting: (Thread & { asks: Ask[] })[] }>('GET', `${API}/inbox`).then((told) => told.waiting),
  intent: (text: string, folder: boolean) =>
    json<{ intent: string }>('GET', `${API}/intent?folder=${folder}&text=${encodeURIComponent(text.slice(0, 2000))}`).then((told) => told.intent),
  models: () => json<{ data: Model[] }>('GET', '/v1/models').then((told) => told.data),
  files: (id: string) => json<{ files: { path: string; bytes: number }[]; total: number; folder: string }>('GET', `${of(id)}/files`),
  file: (id: string, path: string) => asked('GET', `${of(id)}/files/${at(path)}`).then((answer) => answer.blob()),
  addFile: (id: string, path: string, content: Blob) => asked('PUT', `${of(id)}/files/${at(path)}`, content).then(() => undefined),
  removeFile: (id: string, path: string) => json<void>('DELETE', `${of(id)}/files/${at(path)}`),
  changes: (id: string) => json<Changes>('GET', `${of(id)}/changes`),
  doChanges: (id: string, doing: Doing) => json<unknown>('POST', `${of(id)}/changes`, doing),
  memories: () => json<{ memories: Memory[] }>('GET', `${API}/memories`).then((told) => told.memories),
  remember: (text: string, about: string) => json<Memory>('POST', `${API}/memories`, { text, about }),
  reword: (id: string, text: string) => json<Memory>('PATCH', `${API}/memories/${id}`, { text }),
  forget: (id: string) => json<void>('DELETE', `${API}/memories/${id}`),
  schedules: () => json<{ schedules: Schedule[] }>('GET', `${API}/schedules`).then((told) => told.schedules),
  schedule: (id: string) => json<WholeSchedule>('GET', `${API}/schedules/${id}`),
  scheduleWhen: (text: string, zone: string) =>
    json<{ cron: string; next: number[] }>('GET', `${API}/schedules/when?text=${encodeURIComponent(text)}&zone=${encodeURIComponent(zone)}`),
  addSchedule: (schedule: NewSchedule) => json<Schedule>('POST', `${API}/schedules`, schedule),
  pauseSchedule: (id: string, paused: boolean) => json<WholeSchedule>('PATCH', `${API}/schedules/${id}`, { paused }),
  endSchedule: (id: string) => json<void>('DELETE', `${API}/schedules/${id}`),
  triggers: () => json<{ triggers: Trigger[] }>('GET', `${API}/triggers`).then((told) => told.triggers),
  trigger: (id: string) => json<WholeTrigger>('GET', `${API}/triggers/${id}`),
  addTrigger: (trigger: NewTrigger) => json<Trigger & { secret: string }>('POST', `${API}/triggers`, trigger),
  endTrigger: (id: string) => json<void>('DELETE', `${API}/triggers/${id}`),
  webhooks: () => json<{ webhooks: Webhook[]; events: string[] }>('GET', `${API}/webhooks`),
  webhook: (id: string) => json<WholeWebhook>('GET', `${API}/webhooks/${id}`),
  addWebhook: (webhook: NewWebhook) => json<Webhook & { secret: string }>('POST', `${API}/webhooks`, webhook),
  pauseWebhook: (id: string, paused: boolean) => json<WholeWebhook>('PATCH', `${API}/webhooks/${id}`, { paused }),
  testWebhook: (id: string) => json<unknown>('POST', `${API}/webhooks/${id}/test`, {}),
  tellAgain: (id: string, delivery: string) => json<unknown>('POST', `${API}/webhooks/${id}/deliveries/${delivery}`, {}),
  dropWebhook: (id: string) => json<void>('DELETE', `${API}/webhooks/${id}`),
  bring: (content: Blob) => asked('POST', `${API}/import`, content).then((answer) => answer.json() as Promise<{ threads: string[] }>),
  console: <T>(path: string) => json<T>('GET', `${API}/console/${path}`),
  createKey: (key: NewKey) => json<{ id: string; name: string; secret: string }>('POST', `${API}/console/keys`, key),
  revokeKey: (id: string) => json<void>('DELETE', `${API}/console/keys/${encodeURIComponent(id)}`),
  dropReport: (id: string) => json<void>('DELETE', `${API}/console/reports/${id}`),
  making: () => json<{ making: Making | null; offered: Offered }>('GET', `${API}/console/reports/making`),
  make: (report: NewReport) => json<{ making: Making }>('POST', `${API}/console/reports/making`, report),
  stopMaking: () => json<void>('DELETE', `${API}/console/reports/making`),
  get: <T>(path: string) => json<T>('GET', path),
}

export const pictureOf = (id: string, name: string) => `${of(id)}/pictures/${name}`
export const sharedPictureOf = (token: string, name: string) => `${API}/shared/${token}/pictures/${name}`
export const seesPictures = (model: Model | undefined) => !model?.x_headrace.capabilities || model.x_headrace.capabilities.includes('images')
export const eventsOf = (id: string, run: string, after: number) => new EventSource(`${of(id)}/events?run=${run}&after=${after}`)
export const browserOf = (id: string) => new EventSource(`${of(id)}/browser`)
export const exportOf = (id: string) => `${of(id)}/export`
