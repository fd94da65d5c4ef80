// Chooses the slots of a target's ring row and asks for them. Bursts end at multiples of 16 slots:
// 64 bytes, aligned, so that none crosses a page or the end of the ring. The most recent slots come
// oldest first, as they lie. What each burst holds goes to the weigher in a descriptor.
`default_nettype none
module sampler (
  input  wire              clk,
  input  wire              rst,
  input  wire  [1:0][31:0] list,
  input  wire  [1:0][6:0]  fanout,
  input  wire  [1:0][1:0]  mode,
  input  wire  [1:0][3:0]  length_log2,
  input  wire  [1:0][31:0] seed,
  input  wire              in_valid,
  input  wire  [31:0]      in_target,
  input  wire              in_set,
  input  wire  [63:0]      in_degree,
  output wire              in_take,
  output wire              request,
  output logic [32:0]      address,
  output wire  [3:0]       beats,
  output logic             set,
  input  wire              grant,
  input  wire              released,   // the weigher has used up a beat
  // descriptor: set, no fading, first edge in the upper half, edges, draw of the first, last burst
  input  wire              out_take,
  output wire              out_valid,
  output wire  [14:0]      out
);
  function automatic logic [31:0] xorshift(input logic [31:0] x);
    logic [31:0] a, b;
    a = x ^ (x << 13);
    b = a ^ (a >> 17);
    xorshift = b ^ (b << 5);
  endfunction

  typedef enum logic [3:0] {
    IDLE, WIDE, HELD, COUNT, FIRST, EMPTY, DRAW, PLACE, CUT, LOCATE, ADD, ASK
  } state_t;
  state_t state;

  logic [31:0] target, x;
  logic [63:0] degree;
  logic [3:0] log2;
  logic [1:0] how;
  logic [6:0] most, left;
  logic [10:0] held, length;
  logic hashed, full;
  logic [9:0] slot;
  logic [26:0] product;
  logic [4:0] burst;
  logic [41:0] place;  // slot of the burst among those of all rows
  logic [5:0] room;    // beats of the weigher's queue that nobody was promised
  wire [5:0] described;
  wire [4:0] reach = log2 == 3 ? 5'd8 - {2'd0, slot[2:0]} : 5'd16 - {1'b0, slot[3:0]};
  logic [4:0] words;   // beats of the burst
  wire [31:0] start = list[set];
  wire [41:0] row = {10'd0, target} << log2;
  wire [41:0] sum = {13'd0, start[31:3]} + {1'b0, place[41:1]};
  wire open = !described[5];

  assign in_take = state == IDLE && in_valid;
  assign request = state == ASK && open && room >= 8;
  assign beats = words[3:0] - 4'd1;

  always_ff @(posedge clk)
    if (rst) begin
      state <= IDLE;
      room  <= 32;
    end else begin
      room <= room + {5'd0, released} - (grant ? {1'b0, words} : 6'd0);
      case (state)
        IDLE: if (in_valid) state <= WIDE;
        WIDE: state <= HELD;
        HELD: state <= COUNT;
        COUNT: state <= FIRST;
        FIRST: state <= left == 0 ? EMPTY : hashed ? DRAW : CUT;
        EMPTY: if (open) state <= IDLE;
        DRAW: state <= PLACE;
        PLACE: state <= CUT;
        CUT: state <= LOCATE;
        LOCATE: state <= ADD;
        ADD: state <= ASK;
        default: if (grant) state <= left == {2'd0, burst} ? IDLE : hashed ? DRAW : CUT;
      endcase
    end

  always_ff @(posedge clk) begin
    case (state)
      IDLE: begin
        target <= in_target;
        degree <= in_degree;
        set <= in_set;
      end
      WIDE: begin
        log2 <= length_log2[set];
        how <= mode[set];
        most <= mode[set] == 2 ? 7'd64 : fanout[set];
        length <= 11'd1 << length_log2[set];
        x <= {target[15:0], target[31:16]} ^ seed[set] | 32'd1;
      end
      HELD: begin
        full <= degree[63:11] != 0 || degree[10:0] >= length;
        x <= xorshift(x);
      end
      COUNT: held <= full ? length : degree[10:0];
      FIRST: slot <= degree[9:0] - {3'd0, left};  // cut to the ring below
      DRAW: begin
        product <= x[31:16] * held;
        x <= xorshift(x);
      end
      PLACE: slot <= product[25:16];
      CUT: begin
        slot  <= slot & (length[9:0] - 10'd1);
        burst <= 5'd1;
      end
      LOCATE: begin
        if (!hashed) burst <= left < {2'd0, reach} ? left[4:0] : reach;
        place <= row | {32'd0, slot};
      end
      ADD: begin
        address <= {sum[41:29] != 0, sum[28:0], 3'b0};
        words <= ({4'd0, slot[0]} + burst + 5'd1) >> 1;
      end
      ASK: if (grant) slot <= slot + {5'd0, burst};
      default: ;
    endcase
  end
  wire [10:0] holds = full ? length : degree[10:0];
  always_ff @(posedge clk)
    if (state == COUNT) begin
      left   <= holds > {4'd0, most} ? most : holds[6:0];
      hashed <= how == 1 && holds > {4'd0, most};
    end else if (grant) left <= left - {2'd0, burst};

  wire empty = state == EMPTY && open;
  wire [5:0] first = left[5:0] - 6'd1;
  fifo #(.WIDTH(15), .LOG2(5)) descriptors (
    .clk, .rst, .push(grant || empty),
    .in({set, how == 1, slot[0], empty ? 5'd0 : burst, first, empty || left == {2'd0, burst}}),
    .pop(out_take), .out, .valid(out_valid), .count(described)
  );
endmodule
`default_nettype wire
