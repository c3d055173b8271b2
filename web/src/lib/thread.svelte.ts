// One thread that is open: its events as they come, and the words between them.

import { api, eventsOf, type Entry, type State, type WholeThread } from './api'
import { app } from './app.svelte'
import { forksOf, timelineOf } from './timeline'
import type { Happening, Message } from './types'

const FLUSH_MS = 40

export class Open {
  whole = $state.raw<WholeThread | null>(null)
  entries = $state.raw<Entry[]>([])
  state = $state<State>('new')
  why = $state('')
  code = $state('')
  note = $state('')
  live = $state('')
  thought = $state('')
  model = $state('')
  /** What the command that runs has said so far. */
  printed = $state('')
  connected = $state(true)
  timeline = $derived(timelineOf(this.entries))
  forks = $derived(this.whole ? forksOf(this.whole.branches, this.whole.run) : new Map<number, string[]>())
  private source: EventSource | null = null
  private heard: Entry[] = []
  private words = ''
  private thoughts = ''
  private output = ''
  private timer = 0
  /** Counts what is shown: an answer that was asked for before another was shown comes too late. */
  private shown = 0

  constructor(readonly id: string) {}

  /** Read what is there, and follow what comes. */
  async open(): Promise<void> {
    const whole = await api.thread(this.id)
    const { events } = await api.log(this.id, whole.run)
    this.whole = whole
    this.entries = events
    this.state = whole.state
    this.follow()
  }

  close(): void {
    this.source?.close()
    clearTimeout(this.timer)
  }

  async again(whole: WholeThread): Promise<void> {
    const shown = ++this.shown
    this.close()
    this.heard = []
    this.words = this.thoughts = this.live = this.thought = this.why = this.output = ''
    this.whole = whole
    this.state = whole.state
    const { events } = await api.log(this.id, whole.run)
    if (shown !== this.shown) return
    this.entries = events
    this.follow()
  }

  private follow(): void {
    const run = this.whole!.run
    const source = eventsOf(this.id, run, (this.entries.at(-1)?.seq ?? -1) + 1)
    this.source = source
    source.onopen = () => (this.connected = true)
    source.onerror = () => (this.connected = false)
    source.addEventListener('event', (message) => {
      this.heard.push(JSON.parse(message.data) as Entry)
      this.soon()
    })
    source.addEventListener('live', (message) => this.happens(JSON.parse(message.data) as Happening))
  }

  private happens(said: Happening): void {
    if (said.type === 'begun') {
      this.words = this.thoughts = ''
      this.model = said.model
    } else if (said.type === 'words') {
      if (said.kind === 'thought') this.thoughts += said.text
      else this.words += said.text
    } else if (said.type === 'shell') {
      this.output = ''
    } else if (said.type === 'printed') {
      this.output += said.text
    } else if (said.type === 'noted') {
      this.note = said.says
    } else {
      const before = this.state
      this.flush()
      this.state = said.state
      this.why = said.why ?? ''
      this.code = said.code ?? ''
      if (before !== said.state) {
        if (said.state !== 'running') {
          this.words = this.thoughts = ''
          const shown = this.shown
          void api.thread(this.id).then((whole) => {
            if (shown === this.shown) this.whole = whole
          })
          app.announce({ done: 'The answer is finished.', waiting: 'The run waits for you.', failed: 'The run failed.', stopped: 'Stopped.', new: '' }[said.state])
        }
        void app.refresh()
      }
    }
    this.soon()
  }

  /** Many words make one change of the page. */
  private soon(): void {
    this.timer ||= window.setTimeout(() => requestAnimationFrame(() => this.flush()), FLUSH_MS)
  }

  private flush(): void {
    this.timer = 0
    if (this.heard.length) {
      const last = this.entries.at(-1)?.seq ?? -1
      const fresh = this.heard.filter((entry) => entry.seq > last)
      this.heard = []
      if (fresh.some((entry) => entry.event.type === 'ModelSaid')) this.words = this.thoughts = ''
      this.entries = [...this.entries, ...fresh]
    }
    this.live = this.words
    this.thought = this.thoughts
    this.printed = this.output
  }
}

/** What goes with a message: files for the thread's folder, and pictures for the model to see. */
export interface Attached {
  files: File[]
  pictures: Blob[]
}

/** Say it in a thread, with what goes with it. */
export async function said(id: string, message: Message, attached: Attached): Promise<void> {
  for (const file of attached.files) await api.addFile(id, file.name, file)
  const pictures: string[] = []
  for (const picture of attached.pictures) pictures.push(await api.addPicture(id, picture))
  await api.say(id, { ...message, pictures })
}

/** What was typed and not sent is kept, whatever happens. */
export const drafts = {
  of: (id: string) => localStorage.getItem(`draft:${id}`) ?? '',
  keep: (id: string, text: string) => (text ? localStorage.setItem(`draft:${id}`, text) : localStorage.removeItem(`draft:${id}`)),
}
