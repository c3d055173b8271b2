// What a command says, as a terminal would show it: a real terminal's screen, without its own drawing, whose lines we draw as text.
//
// Loaded when the first command is looked at. Colours are mapped to those of the page, so that they can be read in light and dark.

import { Terminal, type IBufferCell, type IMarker } from '@xterm/headless'

/** Some letters that look alike. */
export interface Piece {
  text: string
  look: string
}
export interface Line {
  number: number
  pieces: Piece[]
}

const COLUMNS = 200
const ROWS = 40
/** Fewer at once than are kept, so that none is gone before it was read. */
const LINES_AT_ONCE = 500
const HELD = 2_000
export const LINES_MAX = 3_000
const HUES = ['black', 'red', 'green', 'yellow', 'blue', 'magenta', 'cyan', 'white']

export class Screen {
  /** Lines that change no more, the last LINES_MAX of them; and how many came before. */
  settled: Line[] = []
  dropped = 0
  private count = 0
  private known: IMarker | undefined
  private readonly terminal = new Terminal({ cols: COLUMNS, rows: ROWS, scrollback: HELD, convertEol: true, allowProposedApi: true })

  /** Take in more of what it says. */
  async write(text: string): Promise<void> {
    for (let at = 0; at < text.length; ) {
      let end = at
      for (let lines = 0; lines < LINES_AT_ONCE && end < text.length; lines++) {
        const next = text.indexOf('\n', end)
        end = Math.min(next < 0 ? text.length : next + 1, end + COLUMNS * LINES_AT_ONCE)
      }
      const piece = text.slice(at, end)
      await new Promise<void>((done) => this.terminal.write(piece, done))
      this.settle()
      at = end
    }
  }

  /** The lines that may still change. */
  get moving(): Line[] {
    const buffer = this.terminal.buffer.active
    const lines = this.read(buffer.baseY, buffer.baseY + ROWS)
    while (lines.length && !lines.at(-1)!.length) lines.pop()
    return lines.map((pieces, at) => ({ number: this.count + at, pieces }))
  }

  dispose(): void {
    this.terminal.dispose()
  }

  private settle(): void {
    const buffer = this.terminal.buffer.active
    const from = this.known && this.known.line >= 0 ? this.known.line : 0
    for (const pieces of this.read(from, buffer.baseY)) this.settled.push({ number: this.count++, pieces })
    const over = this.settled.length - LINES_MAX
    if (over > 0) {
      this.settled.splice(0, over)
      this.dropped += over
    }
    this.known?.dispose()
    this.known = this.terminal.registerMarker(-buffer.cursorY)
  }

  /** Of lines that were too long for the screen, their parts together. */
  private read(from: number, to: number): Piece[][] {
    const buffer = this.terminal.buffer.active
    const cell = buffer.getNullCell()
    const lines: Piece[][] = []
    for (let y = from; y < to; y++) {
      const line = buffer.getLine(y)
      if (!line) break
      const pieces = line.isWrapped && lines.length ? lines.at(-1)! : []
      let used = line.length
      while (used > 0 && !line.getCell(used - 1, cell)?.getChars()) used--
      for (let x = 0; x < used; x++) {
        line.getCell(x, cell)
        if (cell.getWidth() === 0) continue
        const look = lookOf(cell)
        const last = pieces.at(-1)
        if (last?.look === look) last.text += cell.getChars() || ' '
        else pieces.push({ text: cell.getChars() || ' ', look })
      }
      if (pieces !== lines.at(-1)) lines.push(pieces)
    }
    return lines
  }
}

function lookOf(cell: IBufferCell): string {
  const look = []
  if (cell.isFgPalette()) look.push(paletteHue(cell.getFgColor()))
  else if (cell.isFgRGB()) look.push(hueOf(cell.getFgColor() >> 16, (cell.getFgColor() >> 8) & 255, cell.getFgColor() & 255))
  if (cell.isBold()) look.push('bold')
  if (cell.isDim()) look.push('dim')
  if (cell.isItalic()) look.push('italic')
  if (cell.isUnderline()) look.push('underline')
  if (cell.isInverse()) look.push('inverse')
  return look.filter(Boolean).join(' ')
}

function paletteHue(colour: number): string {
  if (colour < 16) return HUES[colour % 8]!
  if (colour >= 232) return colour < 244 ? 'black' : 'white'
  const step = (n: number) => (n ? 55 + n * 40 : 0)
  const at = colour - 16
  return hueOf(step(Math.floor(at / 36)), step(Math.floor(at / 6) % 6), step(at % 6))
}

/** The nearest of eight hues. */
function hueOf(red: number, green: number, blue: number): string {
  const most = Math.max(red, green, blue)
  const least = Math.min(red, green, blue)
  if (most - least < 40) return most < 128 ? 'black' : 'white'
  const middle = (most + least) / 2
  return HUES[(red > middle ? 1 : 0) + (green > middle ? 2 : 0) + (blue > middle ? 4 : 0)]!
}
