// The events of a run, as the lines of a timeline: a pure function of what happened.

import type { Branch, Entry } from './api'
import type { Call, Reason } from './types'

export interface Step {
  call: Call
  /** Whose step it is: the call that started a sub-agent; '' is the run's own. */
  within: string
  state: 'wished' | 'running' | 'done' | 'failed' | 'asked' | 'refused' | 'unknown'
  value: string
  began: number
  ended: number
}

export type Item =
  | { kind: 'person'; seq: number; at: number; text: string; pictures: string[] }
  | { kind: 'answer'; seq: number; from: number; at: number; text: string; model: string; request: string; tokens: number; pico: number; ms: number }
  | { kind: 'step'; seq: number; at: number; step: Step }
  | { kind: 'leave'; seq: number; at: number; calls: { call: Call; reasons: Reason[]; answer: boolean | null }[] }
  | { kind: 'pause'; seq: number; at: number; reason: string; open: boolean }
  | { kind: 'fate'; seq: number; at: number; call: Call | undefined; happened: boolean | null }
  | { kind: 'context'; seq: number; at: number; name: string; text: string }

export interface Timeline {
  items: Item[]
  tokens: number
  pico: number
  /** Where the model was asked last without having answered yet; -1: nowhere. */
  asking: number
}

export function timelineOf(entries: Entry[]): Timeline {
  const items: Item[] = []
  const steps = new Map<string, Step>()
  const fates = new Map<string, Item & { kind: 'fate' }>()
  let leave: (Item & { kind: 'leave' }) | null = null
  let tokens = 0
  let pico = 0
  let asking = -1
  let asked = { at: 0, model: '' }
  let heard = 0
  for (const { seq, at, event: told } of entries) {
    let event = told
    let within = ''
    while (event.type === 'Within') {
      within = event.call
      event = event.event
    }
    switch (event.type) {
      case 'PersonSaid':
        if (within) break
        items.push({ kind: 'person', seq, at, text: event.text, pictures: event.pictures ?? [] })
        heard = seq
        break
      case 'ContextGiven':
        items.push({ kind: 'context', seq, at, name: event.name, text: event.text })
        break
      case 'ToolsGiven':
      case 'TaskGiven':
        break
      case 'ModelAsked':
        if (within) break
        asking = seq
        asked = { at, model: event.model }
        break
      case 'ModelSaid': {
        if (!within) asking = -1
        tokens += event.tokens ?? 0
        pico += event.pico_usd ?? 0
        const calls = event.calls ?? []
        if (!within && (event.text.trim() || calls.length === 0)) {
          const facts = { model: asked.model, request: event.request ?? '', tokens: event.tokens ?? 0, pico: event.pico_usd ?? 0 }
          items.push({ kind: 'answer', seq, from: heard, at, text: event.text, ...facts, ms: asked.at ? (at - asked.at) / 1e6 : 0 })
        }
        for (const call of calls) {
          const step: Step = { call, within, state: 'wished', value: '', began: 0, ended: 0 }
          steps.set(call.id, step)
          items.push({ kind: 'step', seq, at, step })
        }
        break
      }
      case 'Intended': {
        const step = steps.get(event.call)
        if (step) Object.assign(step, { state: 'running', began: at })
        break
      }
      case 'Returned':
      case 'Failed': {
        const step = steps.get(event.call)
        const value = event.type === 'Returned' ? event.value : event.says
        if (step) Object.assign(step, { state: event.type === 'Returned' ? 'done' : step.state === 'refused' ? 'refused' : 'failed', value, ended: at })
        break
      }
      case 'LeaveAsked':
        leave = { kind: 'leave', seq, at, calls: event.calls.map((call, n) => ({ call, reasons: event.reasons[n] ?? [], answer: null })) }
        for (const call of event.calls) Object.assign(steps.get(call.id) ?? {}, { state: 'asked' })
        items.push(leave)
        break
      case 'LeaveGiven':
      case 'LeaveRefused': {
        const yes = event.type === 'LeaveGiven'
        for (const one of leave?.calls ?? []) if (one.call.id === event.call) one.answer = yes
        Object.assign(steps.get(event.call) ?? {}, { state: yes ? 'wished' : 'refused' })
        break
      }
      case 'FateAsked': {
        const fate: Item & { kind: 'fate' } = { kind: 'fate', seq, at, call: steps.get(event.call)?.call, happened: null }
        fates.set(event.call, fate)
        Object.assign(steps.get(event.call) ?? {}, { state: 'unknown' })
        items.push(fate)
        break
      }
      case 'FateKnown': {
        const fate = fates.get(event.call)
        if (fate) fate.happened = event.happened
        Object.assign(steps.get(event.call) ?? {}, { state: event.happened ? 'done' : 'running' })
        break
      }
      case 'Paused':
        asking = -1
        items.push({ kind: 'pause', seq, at, reason: event.reason, open: true })
        break
      case 'Resumed':
        for (const item of items) if (item.kind === 'pause') item.open = false
        break
      case 'Ended':
        break
    }
  }
  return { items, tokens, pico, asking }
}

/** The branches that go another way than `shown` from the event on by which they are kept here; `shown` is among them. */
export function forksOf(branches: Branch[], shown: string): Map<number, string[]> {
  const by = new Map(branches.map((branch) => [branch.id, branch]))
  const line = (id: string): Branch[] => {
    const found: Branch[] = []
    for (let at = by.get(id); at; at = at.parent === null ? undefined : by.get(at.parent)) found.unshift(at)
    return found
  }
  const ours = line(shown)
  const forks = new Map<number, string[]>()
  for (const branch of branches) {
    if (branch.id === shown) continue
    const theirs = line(branch.id)
    let at = 0
    while (at < ours.length && at < theirs.length && ours[at]!.id === theirs[at]!.id) at++
    const parts = Math.min(ours[at]?.forked_at ?? Infinity, theirs[at]?.forked_at ?? Infinity)
    if (at > 0 && parts !== Infinity) forks.set(parts, [...(forks.get(parts) ?? []), branch.id])
  }
  for (const [at, ids] of forks) {
    forks.set(at, [...ids, shown].sort((a, b) => by.get(a)!.created - by.get(b)!.created))
  }
  return forks
}
