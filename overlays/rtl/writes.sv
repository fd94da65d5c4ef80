// Writes the embedding rows of its lane's targets, a burst each, once a row is there whole: so a burst
// that has begun can always end. A batch is over when its last response has come.
`default_nettype none
module writes #(
  parameter int D = 64,
  parameter int PORTS = 1,
  parameter int LANE = 0
) (
  input  wire              clk,
  input  wire              rst,
  input  wire              halt,       // begin no more bursts
  output wire              quiet,
  output wire              outside,
  output logic             failed,
  input  wire              launch,
  input  wire  [1:0][31:0] rows,
  input  wire  [1:0][15:0] count,
  input  wire  [1:0][31:0] base,
  input  wire  [1:0][31:0] limit,
  input  wire              hold,       // do not call a batch finished yet
  output wire              finished,
  input  wire              in_valid,
  input  wire  [63:0]      in,
  output wire              room,       // for one more row
  output logic [31:0]      awaddr,
  output logic             awvalid,
  input  wire              awready,
  output wire  [63:0]      wdata,
  output wire              wlast,
  output wire              wvalid,
  input  wire              wready,
  input  wire              bvalid,
  input  wire              berror
);
  localparam int BEATS = D / 8;
  localparam int INDEX = $clog2(BEATS);
  localparam int ROW = $clog2(D);
  typedef enum logic [2:0] {NEXT, ROWS, CHECK, ADDRESS, DATA} state_t;
  state_t state;
  logic [1:0] waiting;
  logic set;
  logic [32-ROW:0] pointer;             // in rows; the top bit: beyond 32 bits
  logic [15:0] left, unanswered;
  logic [INDEX-1:0] beat;

  // Room for three rows of the longest kind: one being written, one whole, one being made.
  wire held, checked;
  wire [5:0] filled;
  wire [31:0] checked_address;
  wire unused_ready, unused_tag;
  wire [3:0] unused_beats;
  wire pop = wvalid && wready;
  fifo #(.WIDTH(64), .LOG2(5)) queue (
    .clk, .rst, .push(in_valid), .in, .pop, .out(wdata), .valid(held), .count(filled)
  );
  assign room = filled <= 6'(32 - BEATS);
  wire whole = filled >= 6'(BEATS);

  wire start = state == ROWS && left != 0 && whole && !halt;
  bounded bounds (
    .clk, .rst, .base(base[set]), .limit(limit[set]), .in_valid(start), .in_ready(unused_ready),
    .in_address({pointer, {ROW{1'b0}}}), .in_beats(4'(BEATS - 1)), .in_tag(1'b0),
    .out_valid(checked), .out_ready(state == CHECK && !halt), .out_address(checked_address),
    .out_beats(unused_beats), .out_tag(unused_tag), .outside
  );
  wire next = state == NEXT && waiting != 0;
  wire [31:0] first = rows[!set];
  assign finished = state == ROWS && left == 0 && unanswered == 0 && !hold && !halt;
  assign quiet = state != ADDRESS && state != DATA && unanswered == 0;
  assign wvalid = state == DATA && held;
  assign wlast = beat == INDEX'(BEATS - 1);

  always_ff @(posedge clk)
    if (rst) begin
      state <= NEXT;
      waiting <= 0;
      set <= 1;
      awvalid <= 0;
      unanswered <= 0;
      beat <= 0;
      failed <= 0;
    end else begin
      waiting <= waiting + {1'b0, launch} - {1'b0, next};
      if (bvalid && berror) failed <= 1;
      unanswered <= unanswered + {15'd0, awvalid && awready} - {15'd0, bvalid};
      if (awready) awvalid <= 0;
      if (pop) beat <= beat + 1'b1;
      case (state)
        NEXT: if (next) begin
          set   <= !set;
          state <= ROWS;
        end
        ROWS: if (start) state <= CHECK;
              else if (finished) state <= NEXT;
        CHECK: if (checked && !halt) begin
          awvalid <= 1;
          state   <= ADDRESS;
        end
        ADDRESS: if (awready) state <= DATA;
        default: if (pop && wlast) state <= ROWS;
      endcase
    end
  always_ff @(posedge clk) begin
    if (next) begin
      pointer <= {1'b0, first[31:ROW]} + (33 - ROW)'(LANE);
      left <= count[!set];
    end
    if (start) begin
      pointer <= pointer + (33 - ROW)'(PORTS);
      left <= left - 1'b1;
    end
    if (state == CHECK && checked) awaddr <= checked_address;
  end
endmodule
`default_nettype wire
