// Mermaid's texts as what draws them understands: each line is read here first, so that one that cannot be read is told and never left
// out in silence, and links are written in the one form that is always told from the names around them.

const KINDS = /^(?:(flowchart|graph)\b|(sequenceDiagram)\b|stateDiagram(?:-v2)?\b|classDiagram\b|erDiagram\b|xychart(?:-beta)?\b)/
const DRAWN = 'flowcharts, sequence, state, class and entity diagrams and xy charts'
export const LENGTH_MAX = 12_000

const ID = /^[\p{L}\p{N}_.]+(?:-[\p{L}\p{N}_.]+)*/u
const SHAPES: [string, string][] = [['(((', ')))'], ['((', '))'], ['([', '])'], ['[[', ']]'], ['[(', ')]'], ['[/', '\\]'], ['[\\', '/]'], ['[/', '/]'],
  ['{{', '}}'], ['[', ']'], ['(', ')'], ['{', '}'], ['>', ']']]
const BRACKETS = '[](){}|'
const HELD = 0xe000 // of private use: what stands for a bracket until the picture is drawn
const LINKS: { told: RegExp; text: RegExp; arrow: string; line: string }[] = [
  { told: /^<?-{2,}[>xo]?/, text: /^<?--\s*([^-\s>|x][^|]*?)\s*-{2,}([>xo]?)/, arrow: '-->', line: '---' },
  { told: /^<?={2,}[>xo]?/, text: /^<?==\s*([^=\s>|][^|]*?)\s*={2,}([>xo]?)/, arrow: '==>', line: '===' },
  { told: /^<?-\.+-[>xo]?/, text: /^<?-\.\s*([^-.\s>|][^|]*?)\s*\.+-([>xo]?)/, arrow: '-.->', line: '-.-' },
]
const ASIDE = /^(?:subgraph\b|end$|direction\s|classDef\s|class\s|style\s|linkStyle\s|click\s|accTitle|accDescr)/
const SAID = [
  /^(?:participant|actor)\s+\S/, /^Note\s+(?:left of|right of|over)\s+[^:]+:/i, /^(?:loop|alt|opt|par|critical|break|rect|else|and|option|box)\b/, /^end$/,
  /^(?:activate|deactivate|destroy|create)\s/, /^(?:autonumber|title|accTitle|accDescr)\b/, /^[^\s:]+?\s*<?<?--?(?:>>|>|x|\)|\()\s*[+-]?[^\s:]+\s*:/,
]

/** What is to be drawn. Throws an Error that says which line is wrong. */
export function readable(source: string): string {
  if (source.length > LENGTH_MAX) throw new Error(`it has more than ${LENGTH_MAX.toLocaleString('en')} characters`)
  const lines = source.replace(/^---\n[\s\S]*?\n---\n/, '').split('\n').map((line) => line.replace(/%%.*$/, '').trim()).filter(Boolean)
  const head = lines[0] ?? ''
  const kind = KINDS.exec(head)
  if (!kind) throw new Error(head ? `“${head.split(/\s/)[0]}” is none of the kinds that are drawn here: ${DRAWN}` : 'it is empty')
  if (lines.length === 1 && !head.includes(';')) throw new Error('nothing stands in it')
  if (kind[1]) return flowchart(lines)
  if (kind[2]) for (const line of lines.slice(1)) if (!SAID.some((one) => one.test(line))) throw unread(line)
  return lines.join('\n')
}

const unread = (line: string) => new Error(`this line can't be read: “${line}”`)

function flowchart(lines: string[]): string {
  const [head = '', ...rest] = lines.flatMap((line) => line.split(/;\s*(?=(?:[^"]*"[^"]*")*[^"]*$)/)).map((line) => line.trim()).filter(Boolean)
  const direction = /^(?:flowchart|graph)\s*(TD|TB|LR|BT|RL)?$/i.exec(head)
  if (!direction) throw unread(head)
  const names = new Map<string, string>()
  return [`flowchart ${direction[1]?.toUpperCase() ?? 'TD'}`, ...rest.map((line) => (ASIDE.test(line) ? line : statement(line, names)))].join('\n')
}

/** Nodes and the links between them, written anew. */
function statement(line: string, names: Map<string, string>): string {
  let left = line
  let told = ''
  for (let first = true; first || left; first = false) {
    if (!first) {
      const [link, after] = linkOf(left, line)
      told += ` ${link} `
      left = after
    }
    for (;;) {
      const [node, after] = nodeOf(left, line, names)
      told += node
      left = after.trimStart()
      if (!left.startsWith('&')) break
      told += ' & '
      left = left.slice(1).trimStart()
    }
  }
  return told
}

function linkOf(text: string, line: string): [string, string] {
  for (const { told, text: spoken, arrow, line: plain } of LINKS) {
    const words = spoken.exec(text)
    const found = words ?? told.exec(text)
    if (!found) continue
    const back = text.startsWith('<') ? '<' : ''
    const drawn = (words ? words[2] : /[>xo]$/.test(found[0])) ? arrow : plain
    let left = text.slice(found[0].length).trimStart()
    const piped = /^\|([^|]*)\|/.exec(left)
    if (piped) left = left.slice(piped[0].length)
    const label = worded(piped?.[1] ?? words?.[1] ?? '')
    return [`${back}${drawn}${label ? `|${label}|` : ''}`, left.trimStart()]
  }
  throw unread(line)
}

function nodeOf(text: string, line: string, names: Map<string, string>): [string, string] {
  const id = ID.exec(text)?.[0]
  if (!id) throw unread(line)
  const plain = /^\w[\w-]*$/.test(id)
  const name = plain ? id : (names.get(id) ?? `node_${names.size}`)
  const known = plain || names.has(id)
  if (!plain) names.set(id, name)
  let left = text.slice(id.length)
  let shape = known ? '' : `[${worded(id)}]`
  for (const [open, shut] of SHAPES) {
    if (!left.startsWith(open)) continue
    const quoted = new RegExp(`^\\s*"([^"]*)"\\s*`).exec(left.slice(open.length))
    const end = left.indexOf(shut, open.length + (quoted ? quoted[0].length : 0))
    if (end < 0) continue
    shape = `${open}${worded(quoted ? quoted[1]! : left.slice(open.length, end)) || ' '}${shut}`
    left = left.slice(end + shut.length)
    break
  }
  const style = /^:::\w[\w-]*/.exec(left)?.[0] ?? ''
  return [name + shape + style, left.slice(style.length)]
}

/** The picture with its brackets again. */
export const restored = (svg: string) => svg.replace(/[\ue000-\ue006]/g, (held) => BRACKETS[held.charCodeAt(0) - HELD]!)

/** A label in which no bracket is taken for the end of it. */
const worded = (text: string) => text.trim().replace(/^"(.*)"$/s, '$1').replace(/[[\](){}|]/g, (bracket) => String.fromCharCode(HELD + BRACKETS.indexOf(bracket)))
